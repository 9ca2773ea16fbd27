/* The inner loops of the replay, for want of which NumPy does the same.
 *
 * `read_lanes` reads slice columns: for every input vector, input cycle and column a sum, its ADC, and shift-and-add.
 * Sums are looked up, not multiplied. Four wordlines share a table of the 16 sums that their four input bits can
 * cause, for as many columns at once as fit into a vector register; a bit plane of a column is then one table row for
 * every four wordlines, added up. Column sums are proved small beforehand, so that a byte is nearly always enough.
 *
 * The Python side is bsc/replay/columns.py, which documents the arguments.
 *
 * `quantise` turns an activation into input codes; see bsc/replay/activations.py.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_PER_TABLE 4  /* wordlines that share a table */
#define MAX_ROWS 16384    /* wordlines of a crossbar: their table rows are counted in 16 bits */
#define MAX_PLANES 16     /* bits of an input code */
#define CHUNK_VECTORS 256 /* vectors whose table rows are listed at a time, to stay in cache */
#define ALIGNMENT 64      /* bytes of the widest vector register */

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    Py_ssize_t vectors, rows, lanes, columns, cycles, planes, bins, bin_shift, origin;
    Py_ssize_t tables;    /* groups of four wordlines */
    const int32_t *codes; /* (vectors, rows) input codes */
    const uint8_t *cells; /* (rows, lanes) levels; differences of two, signed, in lanes with a sign */
    const int32_t *floor; /* (lanes) lowest sum that can be read; the lowest code where there are steps */
    const int32_t *limit; /* (lanes) highest sum that can be read; the highest code where there are steps */
    const int32_t *step;  /* (lanes) cell units of one code; NULL where every sum is read in cell units */
    const int64_t *worth; /* (lanes) of one cell unit in a result */
    const int32_t *column; /* (lanes) of the results */
    const int32_t *plane; /* (lanes) row of the histogram */
    const int32_t *cycle; /* (cycles, 3) shift, width, sign; shifts ascend */
    int64_t *results;     /* (vectors, columns) added to */
    int64_t *clipped;     /* (lanes) added to */
    int32_t *lowest;      /* (lanes) lowered; NULL without statistics */
    int32_t *highest;     /* (lanes) raised; NULL without statistics */
    int64_t *histogram;   /* (planes, cycles, bins) added to; NULL without statistics */
} Job;

typedef void (*Reader)(const Job *, Py_ssize_t first, Py_ssize_t count, const uint16_t *listed, void *table);

/* The table row of every vector, bit plane and table, (vectors, planes, tables); `words` holds one a table. */
FOR_EVERY_PROCESSOR
static void list_rows(const Job *job, Py_ssize_t first, Py_ssize_t count, uint16_t *listed, uint32_t *words)
{
    Py_ssize_t whole = job->rows / ROWS_PER_TABLE;
    for (Py_ssize_t v = 0; v < count; v++) {
        const int32_t *codes = job->codes + (first + v) * job->rows;
        uint16_t *rows = listed + v * job->planes * job->tables;
        for (Py_ssize_t plane = 0; plane < job->planes; plane++, rows += job->tables) {
            if (plane % 8 == 0) { /* eight planes of four codes fit into a word, a byte each */
                for (Py_ssize_t t = 0; t < whole; t++) {
                    const int32_t *four = codes + t * ROWS_PER_TABLE;
                    words[t] = (four[0] >> plane & 255u) | (four[1] >> plane & 255u) << 8 |
                               (four[2] >> plane & 255u) << 16 | (four[3] >> plane & 255u) << 24;
                }
                if (whole < job->tables)
                    words[whole] = 0;
                for (Py_ssize_t r = whole * ROWS_PER_TABLE; r < job->rows; r++)
                    words[whole] |= (codes[r] >> plane & 255u) << 8 * (r % ROWS_PER_TABLE);
            }
            /* The product moves the lowest bits of the four bytes next to each other, to the top. */
            for (Py_ssize_t t = 0; t < job->tables; t++)
                rows[t] = (uint16_t)(t * 16 + ((words[t] >> plane % 8 & 0x01010101u) * 0x10204080u >> 28));
        }
    }
}

/* Lanes of 8 and 16 bits, without and with a sign, for each instruction set. */
#define ROW_BYTES 16
#define TARGET
#define LANE uint8_t
#define WIDE uint16_t
#define CELL uint8_t
#define SIGNED 0
#define NAME(name) name##_8
#include "_kernel_lanes.h"

#define LANE uint16_t
#define WIDE uint32_t
#define CELL uint8_t
#define SIGNED 0
#define NAME(name) name##_16
#include "_kernel_lanes.h"

#define LANE int8_t
#define WIDE int16_t
#define CELL int8_t
#define SIGNED 1
#define NAME(name) name##_s8
#include "_kernel_lanes.h"

#define LANE int16_t
#define WIDE int32_t
#define CELL int8_t
#define SIGNED 1
#define NAME(name) name##_s16
#include "_kernel_lanes.h"

#if defined(__x86_64__)

#undef ROW_BYTES
#undef TARGET
#define ROW_BYTES 32
#define TARGET __attribute__((target("avx2")))
#define LANE uint8_t
#define WIDE uint16_t
#define CELL uint8_t
#define SIGNED 0
#define NAME(name) name##_8_avx2
#include "_kernel_lanes.h"

#define LANE uint16_t
#define WIDE uint32_t
#define CELL uint8_t
#define SIGNED 0
#define NAME(name) name##_16_avx2
#include "_kernel_lanes.h"

#define LANE int8_t
#define WIDE int16_t
#define CELL int8_t
#define SIGNED 1
#define NAME(name) name##_s8_avx2
#include "_kernel_lanes.h"

#define LANE int16_t
#define WIDE int32_t
#define CELL int8_t
#define SIGNED 1
#define NAME(name) name##_s16_avx2
#include "_kernel_lanes.h"

#undef ROW_BYTES
#undef TARGET
#define ROW_BYTES 64
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#define LANE uint8_t
#define WIDE uint16_t
#define CELL uint8_t
#define SIGNED 0
#define NAME(name) name##_8_avx512
#include "_kernel_lanes.h"

#define LANE uint16_t
#define WIDE uint32_t
#define CELL uint8_t
#define SIGNED 0
#define NAME(name) name##_16_avx512
#include "_kernel_lanes.h"

#define LANE int8_t
#define WIDE int16_t
#define CELL int8_t
#define SIGNED 1
#define NAME(name) name##_s8_avx512
#include "_kernel_lanes.h"

#define LANE int16_t
#define WIDE int32_t
#define CELL int8_t
#define SIGNED 1
#define NAME(name) name##_s16_avx512
#include "_kernel_lanes.h"

#endif

/* The reader of lanes of 8 or 16 bits, negative for lanes with a sign. */
#define CHOOSE(suffix) \
    (lane_bits == 8 ? read_lanes_8##suffix : lane_bits == 16 ? read_lanes_16##suffix : \
     lane_bits == -8 ? read_lanes_s8##suffix : read_lanes_s16##suffix)

static Reader reader(int lane_bits)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return CHOOSE(_avx512);
    if (__builtin_cpu_supports("avx2"))
        return CHOOSE(_avx2);
#endif
    return CHOOSE();
}

/* Whether there was memory enough. */
static int run(const Job *job, Reader read)
{
    uint16_t *listed = malloc((size_t)CHUNK_VECTORS * job->planes * job->tables * sizeof *listed + 1);
    uint32_t *words = malloc((size_t)job->tables * sizeof *words + 1);
    char *table = malloc((size_t)job->tables * 16 * ALIGNMENT + ALIGNMENT);
    int enough = listed != NULL && words != NULL && table != NULL;
    for (Py_ssize_t first = 0; enough && first < job->vectors; first += CHUNK_VECTORS) {
        Py_ssize_t count = job->vectors - first < CHUNK_VECTORS ? job->vectors - first : CHUNK_VECTORS;
        list_rows(job, first, count, listed, words);
        read(job, first, count, listed, table + (ALIGNMENT - (uintptr_t)table % ALIGNMENT));
    }
    free(listed);
    free(words);
    free(table);
    return enough;
}

static int has(const Py_buffer *buffer, Py_ssize_t items, Py_ssize_t bytes)
{
    return buffer->len == items * bytes;
}

static PyObject *read_lanes(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer codes, cells, floor, limit, step, worth, column, plane, cycle, results, clipped, lowest, highest, histogram;
    Py_buffer *all[] = {&codes, &cells, &floor,   &limit,   &step,   &worth,   &column,
                        &plane, &cycle, &results, &clipped, &lowest, &highest, &histogram};
    Job job;
    int lane_bits;
    if (!PyArg_ParseTuple(args, "i(nnnnn)(nnn)y*y*y*y*z*y*y*y*y*w*w*z*z*z*:read_lanes", &lane_bits, &job.vectors,
                          &job.rows, &job.lanes, &job.columns, &job.planes, &job.bins, &job.bin_shift, &job.origin,
                          &codes, &cells, &floor, &limit, &step, &worth, &column, &plane, &cycle, &results, &clipped,
                          &lowest, &highest, &histogram))
        return NULL;
    job.tables = (job.rows + ROWS_PER_TABLE - 1) / ROWS_PER_TABLE;
    job.cycles = cycle.len / (Py_ssize_t)(3 * sizeof(int32_t));
    job.codes = codes.buf, job.cells = cells.buf, job.floor = floor.buf;
    job.limit = limit.buf, job.step = step.buf;
    job.worth = worth.buf, job.column = column.buf, job.plane = plane.buf, job.cycle = cycle.buf;
    job.results = results.buf, job.clipped = clipped.buf, job.lowest = lowest.buf;
    job.highest = highest.buf, job.histogram = histogram.buf;
    int fit = job.planes >= 1 && job.planes <= MAX_PLANES && job.bin_shift >= 0 && job.bin_shift < 32 && job.rows >= 0 && job.rows <= MAX_ROWS &&
              (lane_bits == 8 || lane_bits == 16 || lane_bits == -8 || lane_bits == -16) && has(&codes, job.vectors * job.rows, 4) &&
              has(&cells, job.rows * job.lanes, 1) && has(&floor, job.lanes, 4) &&
              has(&limit, job.lanes, 4) &&
              (step.buf == NULL || has(&step, job.lanes, 4)) && has(&worth, job.lanes, 8) &&
              has(&column, job.lanes, 4) && has(&plane, job.lanes, 4) && has(&cycle, job.cycles, 12) &&
              has(&results, job.vectors * job.columns, 8) && has(&clipped, job.lanes, 8) &&
              (highest.buf == NULL) == (histogram.buf == NULL) && (highest.buf == NULL || has(&highest, job.lanes, 4)) &&
              (lowest.buf == NULL) == (highest.buf == NULL) && (lowest.buf == NULL || has(&lowest, job.lanes, 4));
    for (Py_ssize_t c = 0; fit && c < job.cycles; c++)
        fit = job.cycle[3 * c] >= 0 && job.cycle[3 * c + 1] >= 1 &&
              job.cycle[3 * c] + job.cycle[3 * c + 1] <= job.planes;
    for (Py_ssize_t l = 0; fit && l < job.lanes; l++)
        fit = job.column[l] >= 0 && job.column[l] < job.columns && job.plane[l] >= 0 &&
              (histogram.buf == NULL || (job.plane[l] + 1) * job.cycles * job.bins * 8 <= histogram.len);
    int enough = 1;
    if (fit && job.lanes) {
        Py_BEGIN_ALLOW_THREADS
        enough = run(&job, reader(lane_bits));
        Py_END_ALLOW_THREADS
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        PyBuffer_Release(all[i]);
    if (!fit) {
        PyErr_SetString(PyExc_ValueError, "read_lanes: the arrays do not fit together");
        return NULL;
    }
    if (!enough)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* Nearest code of every value, ties to even, clipped; whether all values are finite. */
FOR_EVERY_PROCESSOR
static int nearest_codes(const float *values, Py_ssize_t count, float step, float low, float high, float *codes)
{
    int strange = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        float code = rintf(values[i] / step);
        strange |= !(fabsf(values[i]) <= FLT_MAX);
        code = code < low ? low : code;
        codes[i] = code > high ? high : code;
    }
    return !strange;
}

static PyObject *quantise(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer values, codes;
    float step, low, high;
    if (!PyArg_ParseTuple(args, "y*fffw*:quantise", &values, &step, &low, &high, &codes))
        return NULL;
    int fit = values.len == codes.len && values.len % (Py_ssize_t)sizeof(float) == 0;
    int finite = 0;
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        finite = nearest_codes(values.buf, values.len / (Py_ssize_t)sizeof(float), step, low, high, codes.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&codes);
    if (!fit) {
        PyErr_SetString(PyExc_ValueError, "quantise: the arrays do not fit together");
        return NULL;
    }
    return PyBool_FromLong(finite);
}

static PyMethodDef methods[] = {
    {"quantise", quantise, METH_VARARGS, "Quantise float32 values; bsc.replay.activations calls it."},
    {"read_lanes", read_lanes, METH_VARARGS, "Read lanes; bsc.replay.columns calls it and says what the arguments are."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", "The compiled inner loops of the replay.", 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModule_Create(&module);
}
