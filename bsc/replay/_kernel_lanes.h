/* Reading columns whose bit planes add up within one LANE, WIDE twice as wide, CELL the type of a cell; SIGNED if sums
 * may be below 0. Included for each lane and each instruction set. LANES columns, ROW_BYTES of them, are read at a
 * time, the last ones padded with columns of zeros.
 */

#define LANES ((Py_ssize_t)(ROW_BYTES / sizeof(LANE)))
#define HIGHEST ((1 << (8 * (int)sizeof(LANE) - SIGNED)) - 1)
#define LOWEST (SIGNED ? -HIGHEST - 1 : 0)
typedef LANE NAME(row) __attribute__((vector_size(ROW_BYTES)));

/* Sums of every four wordlines under every combination of their input bits. */
INLINE TARGET void NAME(fill_table)(const Job *job, Py_ssize_t lane, Py_ssize_t width, LANE *table)
{
    for (Py_ssize_t t = 0; t < job->tables; t++, table += 16 * LANES) {
        memset(table, 0, ROW_BYTES);
        for (int bit = 0; bit < ROWS_PER_TABLE; bit++) {
            LANE levels[ROW_BYTES / sizeof(LANE)] = {0};
            Py_ssize_t r = t * ROWS_PER_TABLE + bit;
            if (r < job->rows)
                for (Py_ssize_t i = 0; i < width; i++)
                    levels[i] = ((const CELL *)job->cells)[r * job->lanes + lane + i];
            for (int below = 0; below < 1 << bit; below++)
                for (Py_ssize_t i = 0; i < LANES; i++)
                    table[((1 << bit) + below) * LANES + i] = table[below * LANES + i] + levels[i];
        }
    }
}

/* One bit plane of all lanes. */
INLINE TARGET NAME(row) NAME(plane_sum)(const NAME(row) *table, const uint16_t *rows, Py_ssize_t tables)
{
    NAME(row) even = {0}, odd = {0};
    Py_ssize_t t = 0;
    for (; t + 3 < tables; t += 4) {
        even += table[rows[t]];
        odd += table[rows[t + 1]];
        even += table[rows[t + 2]];
        odd += table[rows[t + 3]];
    }
    for (; t < tables; t++)
        even += table[rows[t]];
    return even + odd;
}

/* All cycles of one vector where a cycle is one bit plane and nothing is rounded: the usual case, kept in lanes. */
INLINE TARGET void NAME(read_planes)(const Job *job, const NAME(row) *table, const uint16_t *rows, NAME(row) floor,
                                     NAME(row) limit, int64_t *total, int32_t *clipped)
{
    union {
        LANE lane[ROW_BYTES / sizeof(LANE)];
        NAME(row) row;
    } read, outside = {{0}};
    (void)floor;
    for (Py_ssize_t c = 0; c < job->cycles;) {
        int base = job->cycle[3 * c], sign = job->cycle[3 * c + 2];
        WIDE wide[ROW_BYTES / sizeof(LANE)] = {0};
        for (; c < job->cycles; c++) { /* eight planes fit into the twice as wide */
            int shift = job->cycle[3 * c] - base;
            if (shift < 0 || shift > 7 || job->cycle[3 * c + 2] != sign)
                break;
            NAME(row) sums = NAME(plane_sum)(table, rows + (base + shift) * job->tables, job->tables);
            NAME(row) over = (NAME(row))(sums > limit);
            outside.row -= over; /* all ones is -1 */
            read.row = (sums & ~over) | (limit & over);
#if SIGNED
            NAME(row) under = (NAME(row))(sums < floor);
            outside.row -= under;
            read.row = (read.row & ~under) | (floor & under);
#endif
            for (Py_ssize_t i = 0; i < LANES; i++)
                wide[i] += (WIDE)((uint32_t)read.lane[i] << shift);
        }
        for (Py_ssize_t i = 0; i < LANES; i++)
            total[i] += sign * (int64_t)((uint64_t)wide[i] << base);
    }
    for (Py_ssize_t i = 0; i < LANES; i++)
        clipped[i] += outside.lane[i];
}

/* All cycles of one vector in general. */
INLINE TARGET void NAME(read_cycles)(const Job *job, Py_ssize_t lane, Py_ssize_t width, const NAME(row) *table,
                                     const uint16_t *rows, const int32_t *floor, const int32_t *limit,
                                     const double *step, int64_t *total, int32_t *clipped)
{
    for (Py_ssize_t c = 0; c < job->cycles; c++) {
        int shift = job->cycle[3 * c], bits = job->cycle[3 * c + 1], sign = job->cycle[3 * c + 2];
        int32_t sums[ROW_BYTES / sizeof(LANE)] = {0};
        for (int bit = 0; bit < bits; bit++) {
            NAME(row) plane = NAME(plane_sum)(table, rows + (shift + bit) * job->tables, job->tables);
            for (Py_ssize_t i = 0; i < LANES; i++)
                sums[i] += (int32_t)((uint32_t)plane[i] << bit);
        }
        if (job->highest)
            for (Py_ssize_t i = 0; i < width; i++) {
                if (sums[i] > job->highest[lane + i])
                    job->highest[lane + i] = sums[i];
                if (sums[i] < job->lowest[lane + i])
                    job->lowest[lane + i] = sums[i];
                Py_ssize_t bin = (sums[i] - job->origin) >> job->bin_shift;
                if (bin >= 0 && bin < job->bins)
                    job->histogram[(job->plane[lane + i] * job->cycles + c) * job->bins + bin]++;
            }
        if (job->step)
            for (Py_ssize_t i = 0; i < LANES; i++) {
                int32_t code = (int32_t)__builtin_rint(sums[i] / step[i]);
                clipped[i] += code > limit[i] || code < floor[i];
                code = code < limit[i] ? code : limit[i];
                sums[i] = (code > floor[i] ? code : floor[i]) * (int32_t)step[i];
            }
        else
            for (Py_ssize_t i = 0; i < LANES; i++) {
                clipped[i] += sums[i] > limit[i] || sums[i] < floor[i];
                sums[i] = sums[i] < limit[i] ? sums[i] : limit[i];
                sums[i] = sums[i] > floor[i] ? sums[i] : floor[i];
            }
        for (Py_ssize_t i = 0; i < LANES; i++)
            total[i] += sign * (int64_t)((uint64_t)sums[i] << shift);
    }
}

TARGET static void NAME(read_lanes)(const Job *job, Py_ssize_t first, Py_ssize_t count, const uint16_t *listed,
                                    void *table)
{
    int planes_only = !job->step && !job->highest;
    for (Py_ssize_t c = 0; c < job->cycles; c++)
        planes_only &= job->cycle[3 * c + 1] == 1;
    for (Py_ssize_t lane = 0; lane < job->lanes; lane += LANES) {
        Py_ssize_t width = job->lanes - lane < LANES ? job->lanes - lane : LANES;
        int32_t floor[ROW_BYTES / sizeof(LANE)] = {0}, limit[ROW_BYTES / sizeof(LANE)] = {0};
        int32_t clipped[ROW_BYTES / sizeof(LANE)] = {0};
        int64_t worth[ROW_BYTES / sizeof(LANE)] = {0};
        double step[ROW_BYTES / sizeof(LANE)];
        union {
            LANE lane[ROW_BYTES / sizeof(LANE)];
            NAME(row) row;
        } low_floor, low_limit;
        Py_ssize_t run[ROW_BYTES / sizeof(LANE) + 1], runs = 0; /* lanes that are neighbours in the results too */
        for (Py_ssize_t i = 0; i < LANES; i++) {
            step[i] = i < width && job->step ? job->step[lane + i] : 1;
            floor[i] = i < width ? job->floor[lane + i] : 0;
            limit[i] = i < width ? job->limit[lane + i] : 0;
            worth[i] = i < width ? job->worth[lane + i] : 0;
            low_floor.lane[i] = (LANE)(floor[i] > LOWEST ? floor[i] : LOWEST); /* what lies beyond is never reached */
            low_limit.lane[i] = (LANE)(limit[i] < HIGHEST ? limit[i] : HIGHEST);
            if (i < width && (i == 0 || job->column[lane + i] != job->column[lane + i - 1] + 1))
                run[runs++] = i;
        }
        run[runs] = width;
        NAME(fill_table)(job, lane, width, table);
        for (Py_ssize_t v = 0; v < count; v++) {
            const uint16_t *rows = listed + v * job->planes * job->tables;
            int64_t total[ROW_BYTES / sizeof(LANE)] = {0};
            if (planes_only)
                NAME(read_planes)(job, table, rows, low_floor.row, low_limit.row, total, clipped);
            else
                NAME(read_cycles)(job, lane, width, table, rows, floor, limit, step, total, clipped);
            for (Py_ssize_t r = 0; r < runs; r++) {
                int64_t *restrict results = job->results + (first + v) * job->columns + job->column[lane + run[r]];
                for (Py_ssize_t i = run[r]; i < run[r + 1]; i++)
                    results[i - run[r]] += worth[i] * total[i];
            }
        }
        for (Py_ssize_t i = 0; i < width; i++)
            job->clipped[lane + i] += clipped[i];
    }
}

#undef HIGHEST
#undef LOWEST
#undef LANES
#undef LANE
#undef WIDE
#undef CELL
#undef SIGNED
#undef NAME
