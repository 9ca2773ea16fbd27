/* Column sums in one type, REAL; _analog.c includes this once for each. */

FOR_EVERY_PROCESSOR
static void NAME(sums)(const Job *job, int32_t *driven)
{
    const REAL *cells = job->cells;
    const REAL bitline = (REAL)job->bitline;
    const Py_ssize_t columns = job->columns;
    for (Py_ssize_t v = 0; v < job->vectors; v++) {
        const float *digits = job->digits + v * job->rows;
        const Py_ssize_t count = driven_rows(digits, job->rows, driven);
        driven[count] = (int32_t)job->rows;
        for (Py_ssize_t first = 0; first < columns; first += BLOCK) {
            const Py_ssize_t width = columns - first < BLOCK ? columns - first : BLOCK;
            REAL current[BLOCK] = {0}, load[BLOCK] = {0}, loss[BLOCK] = {0};
            float spread[BLOCK] = {0};
            for (Py_ssize_t e = 0; e < count; e++) {
                const Py_ssize_t row = driven[e];
                const REAL digit = digits[row];
                const REAL *held = cells + row * columns + first;
                for (Py_ssize_t c = 0; c < width; c++)
                    current[c] += digit * held[c];
                if (job->losses != NULL) { /* over all segments from this row to the next one that is driven */
                    const REAL segments = (REAL)(driven[e + 1] - row);
                    for (Py_ssize_t c = 0; c < width; c++) {
                        load[c] += held[c];
                        loss[c] += current[c] * load[c] * segments;
                    }
                }
                if (job->spreads != NULL) {
                    const float square = digits[row] * digits[row];
                    const float *varies = job->variances + row * columns + first;
                    for (Py_ssize_t c = 0; c < width; c++)
                        spread[c] += square * varies[c];
                }
            }
            REAL *out = (REAL *)job->sums + v * columns + first;
            for (Py_ssize_t c = 0; c < width; c++)
                out[c] = current[c];
            if (job->losses != NULL) {
                REAL *lost = (REAL *)job->losses + v * columns + first;
                for (Py_ssize_t c = 0; c < width; c++) {
                    /* the share that is lost, to first order; nothing where nothing flows */
                    lost[c] = current[c] > 0 ? loss[c] * bitline / current[c] : 0;
                    out[c] /= 1 + lost[c];
                }
            }
            if (job->spreads != NULL)
                for (Py_ssize_t c = 0; c < width; c++)
                    job->spreads[v * columns + first + c] = spread[c];
        }
    }
}

#undef REAL
#undef NAME
