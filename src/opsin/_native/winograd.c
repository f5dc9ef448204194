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

/* Rows of a product with turned filters that is summed in registers, three vectors wide. */
#if defined(__AVX512F__)
#define TURNED 8
#elif defined(__AVX__) || defined(__aarch64__)
#define TURNED 4
#else
#define TURNED 2
#endif
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

/* A frequency: (BLOCK, C + PAD) by (panels, C, PANEL) -> (BLOCK, panels * PANEL + PAD) */
static void product(const float *v, const float *filters, float *m, const shape *s, int64_t count) {
    const int64_t v_stride = s->in + PAD, m_stride = panels(s->out) * PANEL + PAD;
    for (int64_t p = 0; p < panels(s->out); p++, filters += s->in * PANEL)
        for (int64_t t = 0; t < count; t += ROWS)
            multiply(v + t * v_stride, v_stride, filters, s->in, m + t * m_stride + p * PANEL, m_stride);
}

/* n vectors of tiles of a frequency (O,BLOCK) by TURNED rows of filters (panels,C,PANEL), `scale` times; to rows of
   BLOCK. */
INLINE void multiply_turned(const float *v, const float *filters, const shape *s, float scale, float *m, int n) {
    vec sum[TURNED][3] = {{{0}}};
    const float *beside = filters + TURNED * PANEL;
    for (int64_t first = 0; first < s->in; first += PANEL, filters += s->out * PANEL) {
        const int64_t last = s->in - first < PANEL ? s->in - first : PANEL;
        /* Rows of a panel are too few for the processor to see where it goes from there. */
        const float *next = first + PANEL < s->in ? filters + s->out * PANEL : beside;
        for (int64_t k = 0; k < last; k++, v += BLOCK) {
            __builtin_prefetch(next + k * TURNED);
            vec tiles[3];
            for (int j = 0; j < n; j++) tiles[j] = load(v + j * WIDE, WIDE);
#pragma GCC unroll 8
            for (int r = 0; r < TURNED; r++)
                for (int j = 0; j < n; j++) sum[r][j] += filters[r * PANEL + k] * tiles[j];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < TURNED; r++)
        for (int j = 0; j < n; j++) store(m + r * BLOCK + j * WIDE, scale * sum[r][j], WIDE);
}

/* The same as `product`, `scale` times, with the filters (panels,C,PANEL) of the convolution from s->out to s->in
   channels, transposed. `across` are s->in rows of BLOCK. */
static void turned_product(const float *v, const float *filters, float scale, float *m, float *across, const shape *s,
                           int64_t count) {
    const int64_t v_stride = s->in + PAD, m_stride = panels(s->out) * PANEL + PAD;
    for (int64_t k = 0; k < s->in; k += WIDE)
        for (int64_t t = 0; t < count; t += WIDE)
            transpose(v + t * v_stride + k, v_stride, across + k * BLOCK + t, BLOCK);
    for (int64_t c = 0; c < s->out; c += WIDE) {
        float part[WIDE * BLOCK];
        for (int64_t r = 0; r < WIDE; r += TURNED)
            for (int64_t t = 0; t < count; t += 3 * WIDE) {
                const float *rows = filters + (c + r) * PANEL;
                float *to = part + r * BLOCK + t;
                if (count - t <= WIDE) multiply_turned(across + t, rows, s, scale, to, 1);
                else if (count - t <= 2 * WIDE) multiply_turned(across + t, rows, s, scale, to, 2);
                else multiply_turned(across + t, rows, s, scale, to, 3);
            }
        for (int64_t t = 0; t < count; t += WIDE) transpose(part + t, BLOCK, m + t * m_stride + c, m_stride);
    }
}

/* Frequencies `first` ... `last` - 1: (36, BLOCK, C + PAD) by (36, panels, C, PANEL) -> (36, BLOCK, panels * PANEL + PAD).

   Or, with work to be done `across`, by the filters of the convolution from s->out to s->in channels, turned by 180
   degrees and transposed: turning takes a filter's value at a point p to p^2 times that at 1/p, which is one of the
   points too. So a gradient needs no filters of its own. */
static void products(const float *v, const float *filters, float *m, float *across, const shape *s, int64_t count,
                     int first, int last) {
    static const int turned[6] = {5, 3, 4, 1, 2, 0};
    static const float scale[6] = {1, -2, -2, -0.5f, -0.5f, 1};
    for (int f = first; f < last; f++) {
        const float *from = v + f * BLOCK * (s->in + PAD);
        float *to = m + f * BLOCK * (panels(s->out) * PANEL + PAD);
        const int i = f / 6, j = f % 6;
        if (across)
            turned_product(from, filters + (6 * turned[i] + turned[j]) * panels(s->in) * s->out * PANEL,
                           scale[i] * scale[j], to, across, s, count);
        else product(from, filters + f * panels(s->out) * s->in * PANEL, to, s, count);
    }
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

/* Floats that the filters take. Behind them are rows that `turned_products` reads beyond the last, for nothing. */
int64_t opsin_winograd_filters_size(int64_t in, int64_t out) {
    return 36 * panels(out) * in * PANEL + (WIDE - 1) * PANEL;
}

static int64_t v_size(int64_t in) { return 36 * BLOCK * (in + PAD); }

static int64_t m_size(int64_t out) { return 36 * BLOCK * (panels(out) * PANEL + PAD); }

/* Floats that the work of one thread takes. */
int64_t opsin_winograd_work_size(int64_t in, int64_t out) {
    return v_size(in) + m_size(out) + BLOCK * up(in, WIDE);
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
   is where a ReLU of y tells that. `work` is that of `threads` threads. With `turned`, the filters are those from O to C
   channels, and the convolution is the gradient of theirs. */
void opsin_winograd(const float *x, const uint8_t *behind, const float *filters, const float *bias, float *y,
                    uint8_t *clipped, float *work, int64_t images, int64_t height, int64_t width, int64_t in,
                    int64_t out, int turned, int threads) {
    const shape s = {height, width, in, out};
    const int64_t tiles = images * ((height + 3) / 4) * ((width + 3) / 4);
    /* As many tiles at once as there is work for, if possible the same for every thread, in numbers that the products
       take whole. */
    const int64_t blocks = up((tiles + BLOCK - 1) / BLOCK, threads), share = (tiles + blocks - 1) / blocks;
    const int64_t block = up(share, turned && share >= WIDE ? WIDE : ROWS);
#pragma omp parallel num_threads(threads)
    {
        float *mine = work + omp_get_thread_num() * opsin_winograd_work_size(in, out);
        float *v = mine, *m = v + v_size(in), *across = turned ? m + m_size(out) : 0;
        if (tiles <= BLOCK) {
            /* A block for all threads, each with frequencies of its own: the filters are what takes the time. */
            v = work, m = v + v_size(in);
#pragma omp for schedule(static)
            for (int64_t t = 0; t < tiles; t++) inputs(x, behind, v + t * (in + PAD), &s, t, 1);
#pragma omp for schedule(static)
            for (int f = 0; f < 36; f++) products(v, filters, m, across, &s, tiles, f, f + 1);
#pragma omp for schedule(static)
            for (int64_t t = 0; t < tiles; t++)
                outputs(m + t * (panels(out) * PANEL + PAD), bias, y, clipped, &s, t, 1);
        } else {
#pragma omp for schedule(dynamic)
            for (int64_t first = 0; first < tiles; first += block) {
                const int64_t count = tiles - first < block ? tiles - first : block;
                inputs(x, behind, v, &s, first, count);
                products(v, filters, m, across, &s, count, 0, 36);
                outputs(m, bias, y, clipped, &s, first, count);
            }
        }
    }
}
