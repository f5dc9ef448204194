/* Winograd's F(4x4,3x3): the transforms around its 36 matrix products, for float32 images in NHWC.

   A 3x3 convolution, padded by 1, of an image cut into tiles of 4x4 outputs, each of which reads 6x6 inputs:

       Y = A^T [ (G g G^T) . (B^T d B) ] A

   for each of 36 frequencies is a product of matrices, (tiles, C) by (C, O). The points are 0, +-sqrt(1/2), +-sqrt(2)
   and infinity: as they come in pairs p and 1/p, values stay of the size of the input, and rounding errors are a
   fraction of those with 0, +-1, +-2.

   A thread takes a few dozen tiles through all three steps, so that they stay in its cache, and waits for nobody until
   the image is done. That is why the products are here too, rather than calls of a BLAS library in between: they get
   both factors as they want them, and the filters are packed once.

   Reference: "Fast algorithms for convolutional neural networks", Lavin and Gray, 2016. */

#include <omp.h>

#include "convolution.h"

#define PAD 16 /* floats between rows, lest they fall upon the same lines of the cache when C is a power of two */

#define A 0.70710678118654752f /* the points, and their cubes */
#define B 1.41421356237309505f
#define A3 0.35355339059327376f
#define B3 2.82842712474619010f

/* B^T d: six inputs to six frequencies, `step` apart. */
INLINE void to_frequencies(vec *to, int step, vec d0, vec d1, vec d2, vec d3, vec d4, vec d5) {
    vec even = d4 - 2.0f * d2, odd = A * d3 - B * d1;
    vec even2 = d4 - 0.5f * d2, odd2 = B * d3 - A * d1;
    to[0 * step] = d0 - 2.5f * d2 + d4;
    to[1 * step] = even + odd;
    to[2 * step] = even - odd;
    to[3 * step] = even2 + odd2;
    to[4 * step] = even2 - odd2;
    to[5 * step] = d1 - 2.5f * d3 + d5;
}

/* A^T m: six frequencies to four outputs, `step` apart. */
INLINE void to_outputs(vec *to, int step, vec m0, vec m1, vec m2, vec m3, vec m4, vec m5) {
    vec even = m1 + m2, odd = m1 - m2, even2 = m3 + m4, odd2 = m3 - m4;
    to[0 * step] = m0 + even + even2;
    to[1 * step] = A * odd + B * odd2;
    to[2 * step] = 0.5f * even + 2.0f * even2;
    to[3 * step] = A3 * odd + B3 * odd2 + m5;
}

/* n channels of one tile: from[36] are its pixels, null outside of the image; `clipped`, if given, are the bits of the
   ReLU that the pixels are gradients behind. */
INLINE void input_strip(const float *const *from, const uint8_t *const *clipped, int64_t c, float *to, int64_t stride,
                        int n) {
    vec d[6], half[36], whole[6];
    for (int j = 0; j < 6; j++) {
        for (int i = 0; i < 6; i++) {
            const float *p = from[6 * i + j];
            d[i] = p ? load(p + c, n) : (vec){0};
            if (clipped && p) d[i] = without(d[i], load_bits(clipped[6 * i + j] + c / 8, n));
        }
        to_frequencies(half + j, 6, d[0], d[1], d[2], d[3], d[4], d[5]);
    }
    for (int i = 0; i < 6; i++) {
        const vec *h = half + 6 * i;
        to_frequencies(whole, 1, h[0], h[1], h[2], h[3], h[4], h[5]);
        for (int j = 0; j < 6; j++) store(to + (6 * i + j) * stride + c, whole[j], n);
    }
}

/* n channels of one tile: to[16] are its outputs, null outside of the image; see `give` for `clipped`. */
INLINE void output_strip(const float *from, int64_t stride, const float *bias, int64_t c, float *const *to,
                         uint8_t *const *clipped, int n) {
    vec m[6], half[24], whole[4];
    const vec add = bias ? load(bias + c, n) : (vec){0};
    for (int j = 0; j < 6; j++) {
        for (int i = 0; i < 6; i++) m[i] = load(from + (6 * i + j) * stride + c, n);
        to_outputs(half + j, 6, m[0], m[1], m[2], m[3], m[4], m[5]);
    }
    for (int i = 0; i < 4; i++) {
        const vec *h = half + 6 * i;
        to_outputs(whole, 1, h[0], h[1], h[2], h[3], h[4], h[5]);
        for (int j = 0; j < 4; j++) {
            const int k = 4 * i + j;
            if (to[k]) give(whole[j] + add, to[k] + c, clipped ? clipped[k] + c / 8 : 0, n);
        }
    }
}

/* (6x6 pixels around each tile, C) -> (36, BLOCK, C + PAD) */
static void inputs(const float *x, const uint8_t *clipped, float *v, const shape *s, int64_t first, int64_t count) {
    const int64_t down = (s->height + 3) / 4, across = (s->width + 3) / 4, channels = s->in;
    const int64_t stride = BLOCK * (channels + PAD), whole = channels - channels % WIDE;
    for (int64_t t = 0; t < count; t++) {
        const int64_t row = (first + t) / across;
        const int64_t top = row % down * 4 - 1, left = (first + t) % across * 4 - 1;
        const float *from[36];
        const uint8_t *bits[36];
        for (int k = 0; k < 36; k++) {
            const int64_t i = top + k / 6, j = left + k % 6;
            const int inside = i >= 0 && i < s->height && j >= 0 && j < s->width;
            const int64_t at = (row / down * s->height + i) * s->width + j;
            from[k] = inside ? x + at * channels : 0;
            bits[k] = inside && clipped ? clipped + at * bit_bytes(channels) : 0;
        }
        float *to = v + t * (channels + PAD);
        if (clipped)
            for (int64_t c = 0; c < whole; c += WIDE) input_strip(from, bits, c, to, stride, WIDE);
        else
            for (int64_t c = 0; c < whole; c += WIDE) input_strip(from, 0, c, to, stride, WIDE);
        if (whole < channels) input_strip(from, clipped ? bits : 0, whole, to, stride, (int)(channels - whole));
    }
}

/* (36, BLOCK, C + PAD) by (36, panels, C, PANEL) -> (36, BLOCK, panels * PANEL + PAD) */
static void products(const float *v, const float *filters, float *m, const shape *s, int64_t count) {
    const int64_t v_stride = s->in + PAD, m_stride = panels(s->out) * PANEL + PAD;
    for (int f = 0; f < 36; f++)
        for (int64_t p = 0; p < panels(s->out); p++, filters += s->in * PANEL)
            for (int64_t t = 0; t < count; t += ROWS)
                multiply(v + (f * BLOCK + t) * v_stride, v_stride, filters, s->in,
                         m + (f * BLOCK + t) * m_stride + p * PANEL, m_stride);
}

/* (36, BLOCK, panels * PANEL + PAD) -> (4x4 pixels of each tile, O), with a bias (or null); see `give` for `clipped` */
static void outputs(const float *m, const float *bias, float *y, uint8_t *clipped, const shape *s, int64_t first,
                    int64_t count) {
    const int64_t down = (s->height + 3) / 4, across = (s->width + 3) / 4, channels = s->out;
    const int64_t row_stride = panels(channels) * PANEL + PAD, whole = channels - channels % WIDE;
    for (int64_t t = 0; t < count; t++) {
        const int64_t row = (first + t) / across;
        const int64_t top = row % down * 4, left = (first + t) % across * 4;
        float *to[16];
        uint8_t *bits[16];
        for (int k = 0; k < 16; k++) {
            const int64_t i = top + k / 4, j = left + k % 4;
            const int64_t at = (row / down * s->height + i) * s->width + j;
            to[k] = i < s->height && j < s->width ? y + at * channels : 0;
            bits[k] = clipped ? clipped + at * bit_bytes(channels) : 0;
        }
        const float *from = m + t * row_stride;
        const int64_t stride = BLOCK * row_stride;
        if (clipped)
            for (int64_t c = 0; c < whole; c += WIDE) output_strip(from, stride, bias, c, to, bits, WIDE);
        else
            for (int64_t c = 0; c < whole; c += WIDE) output_strip(from, stride, bias, c, to, 0, WIDE);
        if (whole < channels)
            output_strip(from, stride, bias, whole, to, clipped ? bits : 0, (int)(channels - whole));
    }
}

/* Floats that the filters and the work of one thread take. */
int64_t opsin_winograd_filters_size(int64_t in, int64_t out) { return 36 * panels(out) * in * PANEL; }

int64_t opsin_winograd_work_size(int64_t in, int64_t out) {
    return 36 * BLOCK * (in + PAD + panels(out) * PANEL + PAD);
}

/* Filters (O,C,3,3), contiguous, to (36, panels, C, PANEL), which is zeros behind the last of them. */
void opsin_winograd_filters(const float *g, float *u, int64_t in, int64_t out, int threads) {
    const double a = 0.70710678118654752, b = 1.41421356237309505;
    const double G[6][3] = {/* 1, p and p^2, over the product of the distances from p to the other points */
                            {1, 0, 0},
                            {-2 / 3., -2 / 3. * a, -1 / 3.},
                            {-2 / 3., 2 / 3. * a, -1 / 3.},
                            {1 / 6., 1 / 6. * b, 1 / 3.},
                            {1 / 6., -1 / 6. * b, 1 / 3.},
                            {0, 0, 1}};
    const int64_t rows = panels(out) * in;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const int64_t first = row / in * PANEL, c = row % in;
        double from[9][PANEL] = {{0}}, half[6][3][PANEL];
        for (int64_t o = first; o < out && o < first + PANEL; o++)
            for (int k = 0; k < 9; k++) from[k][o - first] = g[(o * in + c) * 9 + k];
        for (int i = 0; i < 6; i++)
            for (int j = 0; j < 3; j++)
                for (int n = 0; n < PANEL; n++)
                    half[i][j][n] = G[i][0] * from[j][n] + G[i][1] * from[3 + j][n] + G[i][2] * from[6 + j][n];
        for (int f = 0; f < 36; f++)
            for (int n = 0; n < PANEL; n++)
                u[(f * rows + row) * PANEL + n] = (float)(half[f / 6][0][n] * G[f % 6][0] +
                                                          half[f / 6][1][n] * G[f % 6][1] +
                                                          half[f / 6][2][n] * G[f % 6][2]);
    }
}

/* x (N,H,W,C) -> y (N,H,W,O), plus `bias` (O), or null. Bits for each channel of a position are in as many bytes as
   they take: `behind` (N,H,W,bytes), or null, tells where x is to be taken as 0, and `clipped` (N,H,W,bytes), if given,
   is where a ReLU of y tells that. `work` is that of `threads` threads. */
void opsin_winograd(const float *x, const uint8_t *behind, const float *filters, const float *bias, float *y,
                    uint8_t *clipped, float *work, int64_t images, int64_t height, int64_t width, int64_t in,
                    int64_t out, int threads) {
    const shape s = {height, width, in, out};
    const int64_t tiles = images * ((height + 3) / 4) * ((width + 3) / 4);
    /* As many tiles at once as there is work for, if possible the same for every thread. */
    const int64_t blocks = up((tiles + BLOCK - 1) / BLOCK, threads), block = up((tiles + blocks - 1) / blocks, ROWS);
#pragma omp parallel num_threads(threads)
    {
        float *v = work + omp_get_thread_num() * opsin_winograd_work_size(in, out);
        float *m = v + 36 * BLOCK * (in + PAD);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < tiles; first += block) {
            const int64_t count = tiles - first < block ? tiles - first : block;
            inputs(x, behind, v, &s, first, count);
            products(v, filters, m, &s, count);
            outputs(m, bias, y, clipped, &s, first, count);
        }
    }
}
