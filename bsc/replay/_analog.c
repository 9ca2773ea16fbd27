/* The inner loops of crossbars with device effects, for want of which NumPy does the same, bit for bit.
 *
 * For every vector it lists the rows that are driven and adds up what their cells conduct, what the bitlines lose and
 * how much the sums vary; `nodal_read` solves the wires of one vector exactly. Rows at digit 0 cost nothing. Products and sums are rounded one by one, in the order of the
 * rows (setup.py forbids fused ones), so that every instruction set gives the same bits.
 *
 * The Python side is bsc/replay/analog_sums.py and nodal.py, which document the arguments.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif

#define BLOCK 64 /* columns that are added up at a time, to stay in registers and the nearest cache */

typedef struct {
    Py_ssize_t vectors, rows, columns;
    double bitline;
    const float *digits;    /* (vectors, rows) */
    const void *cells;      /* (rows, columns) */
    const float *variances; /* (rows, columns), or NULL */
    void *sums;             /* (vectors, columns) */
    void *losses;           /* (vectors, columns), or NULL where bitlines lose nothing */
    float *spreads;         /* (vectors, columns), or NULL: variances of the sums */
} Job;

/* The rows that are driven by one vector; how many. */
static Py_ssize_t driven_rows(const float *digits, Py_ssize_t rows, int32_t *driven)
{
    Py_ssize_t count = 0;
    for (Py_ssize_t r = 0; r < rows; r++) {
        driven[count] = (int32_t)r;
        count += digits[r] != 0;
    }
    return count;
}

#define REAL float
#define NAME(name) name##_float
#include "_analog_sums.h"

#define REAL double
#define NAME(name) name##_double
#include "_analog_sums.h"

static int has(const Py_buffer *buffer, Py_ssize_t items, Py_ssize_t bytes)
{
    return buffer->len == items * bytes;
}

static PyObject *sums(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer digits, cells, variances, out, losses, spreads;
    Py_buffer *all[] = {&digits, &cells, &variances, &out, &losses, &spreads};
    Job job;
    int bytes;
    if (!PyArg_ParseTuple(args, "i(nnn)dy*y*z*w*z*z*:sums", &bytes, &job.vectors, &job.rows, &job.columns,
                          &job.bitline, &digits, &cells, &variances, &out, &losses, &spreads))
        return NULL;
    job.digits = digits.buf, job.cells = cells.buf, job.variances = variances.buf;
    job.sums = out.buf, job.losses = losses.buf, job.spreads = spreads.buf;
    Py_ssize_t results = job.vectors * job.columns;
    int fit = (bytes == 4 || bytes == 8) && job.rows >= 0 && job.rows <= INT32_MAX && job.columns >= 0 &&
              has(&digits, job.vectors * job.rows, 4) && has(&cells, job.rows * job.columns, bytes) &&
              has(&out, results, bytes) && (losses.buf == NULL || (has(&losses, results, bytes) && !losses.readonly)) &&
              (variances.buf == NULL) == (spreads.buf == NULL) &&
              (spreads.buf == NULL ||
               (has(&variances, job.rows * job.columns, 4) && has(&spreads, results, 4) && !spreads.readonly));
    int enough = 1;
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        int32_t *driven = malloc((size_t)(job.rows + 1) * sizeof *driven);
        enough = driven != NULL;
        if (enough)
            (bytes == 4 ? sums_float : sums_double)(&job, driven);
        free(driven);
        Py_END_ALLOW_THREADS
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        PyBuffer_Release(all[i]);
    if (!fit) {
        PyErr_SetString(PyExc_ValueError, "sums: the arrays do not fit together");
        return NULL;
    }
    if (!enough)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

typedef struct {
    Py_ssize_t rows, columns, sweeps;
    double wordline, bitline, voltage, settled;
    const double *cells;   /* (rows, columns) */
    const double *through; /* (rows, columns) of the wordlines' elimination */
} Wires;

/* What one read needs: arrays of (driven rows, columns), of driven rows, and of columns. */
typedef struct {
    double *words, *bits, *inverse, *pass, *volts, *below, *before;
    int32_t *driven;
} Room;

/* The read of one vector, as bsc.replay.nodal computes it; whether it settled. */
FOR_EVERY_PROCESSOR
static int nodal_read(const Wires *wires, const float *digits, const Room *room, double *sums)
{
    const Py_ssize_t columns = wires->columns;
    const double wordline = wires->wordline, bitline = wires->bitline;
    const int32_t *driven = room->driven;
    const Py_ssize_t count = driven_rows(digits, wires->rows, room->driven);
    room->driven[count] = (int32_t)wires->rows;
    for (Py_ssize_t c = 0; c < columns; c++)
        sums[c] = 0;
    for (Py_ssize_t e = 0; e < count; e++) {
        const double *held = wires->cells + driven[e] * columns;
        const double volts = room->volts[e] = wires->voltage * digits[driven[e]];
        const double above = e ? room->below[e - 1] : 0;
        const double below = room->below[e] = 1.0 / (driven[e + 1] - driven[e]);
        for (Py_ssize_t c = 0; c < columns; c++) {
            const Py_ssize_t here = e * columns + c;
            double pivot = above + below + bitline * held[c];
            if (e)
                pivot -= above * room->pass[here - columns];
            room->inverse[here] = 1 / pivot;
            room->pass[here] = below * room->inverse[here];
            room->words[here] = volts;
            room->bits[here] = 0;
            sums[c] += held[c] * volts;
        }
    }
    for (Py_ssize_t sweep = 0; sweep < wires->sweeps; sweep++) {
        for (Py_ssize_t e = 0; wordline > 0 && e < count; e++) {
            const double *held = wires->cells + driven[e] * columns, *through = wires->through + driven[e] * columns;
            double *words = room->words + e * columns, before = room->volts[e];
            const double *bits = room->bits + e * columns;
            for (Py_ssize_t c = 0; c < columns; c++)
                before = words[c] = (wordline * held[c] * bits[c] + before) * through[c];
            for (Py_ssize_t c = columns - 2; c >= 0; c--)
                words[c] += through[c] * words[c + 1];
        }
        for (Py_ssize_t e = 0; bitline > 0 && e < count; e++) {
            const double *held = wires->cells + driven[e] * columns, *words = room->words + e * columns;
            const double *inverse = room->inverse + e * columns, above = e ? room->below[e - 1] : 0;
            double *bits = room->bits + e * columns;
            for (Py_ssize_t c = 0; c < columns; c++)
                bits[c] = (bitline * held[c] * words[c] + (e ? above * bits[c - columns] : 0)) * inverse[c];
        }
        for (Py_ssize_t e = count - 2; bitline > 0 && e >= 0; e--) {
            const double *pass = room->pass + e * columns;
            double *bits = room->bits + e * columns;
            for (Py_ssize_t c = 0; c < columns; c++)
                bits[c] += pass[c] * bits[c + columns];
        }
        for (Py_ssize_t c = 0; c < columns; c++) {
            room->before[c] = sums[c];
            sums[c] = 0;
        }
        for (Py_ssize_t e = 0; e < count; e++) {
            const double *held = wires->cells + driven[e] * columns;
            for (Py_ssize_t c = 0; c < columns; c++)
                sums[c] += held[c] * (room->words[e * columns + c] - room->bits[e * columns + c]);
        }
        int moves = 0;
        for (Py_ssize_t c = 0; c < columns; c++) {
            const double move = sums[c] - room->before[c];
            moves |= move > wires->settled || -move > wires->settled;
        }
        if (!moves || !(wordline > 0 && bitline > 0))
            return 1;
    }
    return 0;
}

static PyObject *nodal(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer digits, cells, through, out;
    Py_ssize_t vectors;
    Wires wires;
    if (!PyArg_ParseTuple(args, "(nnn)(dddd)ny*y*y*w*:nodal", &vectors, &wires.rows, &wires.columns, &wires.wordline,
                          &wires.bitline, &wires.voltage, &wires.settled, &wires.sweeps, &digits, &cells, &through, &out))
        return NULL;
    wires.cells = cells.buf, wires.through = through.buf;
    Py_ssize_t size = wires.rows * wires.columns;
    int fit = wires.rows >= 0 && wires.rows <= INT32_MAX && wires.columns >= 0 && has(&digits, vectors * wires.rows, 4) &&
              has(&cells, size, 8) && has(&through, size, 8) && has(&out, vectors * wires.columns, 8);
    int enough = 1, settled = 1;
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        double *numbers = malloc((size_t)(4 * size + 2 * wires.rows + wires.columns + 1) * sizeof *numbers);
        int32_t *driven = malloc((size_t)(wires.rows + 1) * sizeof *driven);
        enough = numbers != NULL && driven != NULL;
        if (enough) {
            double *lines = numbers + 4 * size;
            const Room room = {numbers, numbers + size, numbers + 2 * size, numbers + 3 * size,
                               lines, lines + wires.rows, lines + 2 * wires.rows, driven};
            for (Py_ssize_t v = 0; v < vectors && settled; v++)
                settled = nodal_read(&wires, (const float *)digits.buf + v * wires.rows, &room,
                                     (double *)out.buf + v * wires.columns);
        }
        free(numbers);
        free(driven);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&digits);
    PyBuffer_Release(&cells);
    PyBuffer_Release(&through);
    PyBuffer_Release(&out);
    if (!fit) {
        PyErr_SetString(PyExc_ValueError, "nodal: the arrays do not fit together");
        return NULL;
    }
    if (!enough)
        return PyErr_NoMemory();
    return PyBool_FromLong(settled);
}

static PyMethodDef methods[] = {
    {"sums", sums, METH_VARARGS, "Sums of columns; bsc.replay.analog_sums calls it and says what the arguments are."},
    {"nodal", nodal, METH_VARARGS, "Solve wires; bsc.replay.nodal calls it and says what the arguments are."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_analog", "The compiled inner loops of device effects.", 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__analog(void)
{
    return PyModule_Create(&module);
}
