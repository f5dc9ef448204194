/* What the convolutions share: the product of matrices, and what is done to its sums. */

#ifndef OPSIN_CONVOLUTION_H
#define OPSIN_CONVOLUTION_H

#include "vectors.h"

/* Rows and columns of a product that is summed in registers: of 512 bits there are 32, of 256 bits 16, and of 128 bits,
   of which a vector takes two, 32 or 16. */
#if defined(__AVX512F__)
#define ROWS 12
#elif defined(__AVX__) || defined(__aarch64__)
#define ROWS 6
#else
#define ROWS 3
#endif
#define PANEL (2 * WIDE)
#define BLOCK 48 /* rows that a thread takes at once, a multiple of ROWS */

/* Of the maps, and how many channels go in and come out. */
typedef struct {
    int64_t height, width, in, out;
} shape;

static inline int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/* Panels that so many columns take. */
static inline int64_t panels(int64_t columns) { return (columns + PANEL - 1) / PANEL; }

/* Adds ROWS rows of v (of K values) by a panel of filters (K, PANEL). */
INLINE void add_products(const float *v, int64_t stride, const float *panel, int64_t values, vec sum[ROWS][2]) {
    for (int64_t k = 0; k < values; k++) {
        const vec left = load(panel + k * PANEL, WIDE), right = load(panel + k * PANEL + WIDE, WIDE);
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++) {
            sum[r][0] += v[r * stride + k] * left;
            sum[r][1] += v[r * stride + k] * right;
        }
    }
}

/* ROWS rows of v by a panel, to ROWS rows of m. */
static inline void multiply(const float *v, int64_t v_stride, const float *panel, int64_t values, float *m,
                            int64_t m_stride) {
    vec sum[ROWS][2] = {{{0}}};
    add_products(v, v_stride, panel, values, sum);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
        store(m + r * m_stride, sum[r][0], WIDE);
        store(m + r * m_stride + WIDE, sum[r][1], WIDE);
    }
}

/* n outputs, through a ReLU if its `clipped` is given: bits that tell where there is no gradient. */
INLINE void give(vec y, float *to, uint8_t *clipped, int n) {
    if (clipped) {
        y = without(y, y < 0.0f); /* a NaN stays one, as in torch */
        store_bits(clipped, y <= 0.0f, n);
    }
    store(to, y, n);
}

#endif
