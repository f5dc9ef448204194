/* 3x3 convolutions, padded by 1, of float32 images of few channels in NHWC, such as the first of VGG, and their gradients.

   With K = 9C values around each position, the outputs are a product of matrices, (positions, K) by (K, O). The gradient
   is one too, (positions, O) by (O, K), whose columns are then added up where they came from. With this few channels
   Winograd's transforms would cost more than the multiplications that they save. */

#include <omp.h>

#include "convolution.h"

#define BAND 32 /* rows of a gradient that a thread takes at once; it multiplies two more */

/* Floats between the copies of rows that are read around a row, with a zero before it and behind it. */
static int64_t copy_size(int64_t width, int64_t in) { return (up(width, ROWS) + 2) * in; }

/* Row i of an image and those above and below it, or zeros. */
static void copy(const float *image, float *v, int64_t i, const shape *s) {
    const int64_t in = s->in, size = s->width * in;
    for (int64_t k = i - 1; k <= i + 1; k++, v += copy_size(s->width, in)) {
        memset(v, 0, 4 * in);
        if (k >= 0 && k < s->height) memcpy(v + in, image + k * size, 4 * size);
        else memset(v + in, 0, 4 * size);
        memset(v + in + size, 0, 4 * in);
    }
}

/* n columns of `rows` sums, to positions of y. */
INLINE void outputs(vec sum[ROWS][2], int side, const float *bias, float *y, uint8_t *clipped, int64_t out, int64_t rows,
                    int n) {
    const vec add = bias ? load(bias, n) : (vec){0};
#pragma GCC unroll 12
    for (int64_t r = 0; r < rows; r++)
        give(sum[r][side] + add, y + r * out, clipped ? clipped + r * bit_bytes(out) : 0, n);
}

/* Copies of three rows by the filters (panels, 9C, PANEL), to a row of y (width, O) */
static void forward(const float *v, const float *filters, const float *bias, float *y, uint8_t *clipped,
                    const shape *s) {
    const int64_t in = s->in, out = s->out;
    for (int64_t j = 0; j < s->width; j += ROWS, v += ROWS * in)
        for (int64_t p = 0; p < panels(out); p++) {
            vec sum[ROWS][2] = {{{0}}};
            for (int k = 0; k < 3; k++)
                add_products(v + k * copy_size(s->width, in), in, filters + (3 * p + k) * 3 * in * PANEL, 3 * in, sum);
            const int64_t rows = s->width - j < ROWS ? s->width - j : ROWS;
            for (int side = 0; side < 2; side++) {
                const int64_t c = p * PANEL + side * WIDE;
                const float *add = bias ? bias + c : 0;
                float *to = y + j * out + c;
                uint8_t *bits = clipped ? clipped + j * bit_bytes(out) + c / 8 : 0;
                if (rows == ROWS && c + WIDE <= out) outputs(sum, side, add, to, bits, out, ROWS, WIDE);
                else if (c < out) outputs(sum, side, add, to, bits, out, rows, out - c < WIDE ? (int)(out - c) : WIDE);
            }
        }
}

/* Floats that the work of one thread takes, forward and backward. */
int64_t opsin_narrow_work_size(int64_t width, int64_t in) { return 3 * copy_size(width, in); }

int64_t opsin_narrow_backward_work_size(int64_t width, int64_t in, int64_t out) {
    return BLOCK * out + 3 * up(width, ROWS) * panels(9 * in) * PANEL;
}

/* Columns of a panel, in which the filters are handed in: (9C,O) as (panels, 9C, PANEL), zeros behind the last of them,
   and for the gradient (O,9C) likewise. */
int64_t opsin_panel(void) { return PANEL; }

/* x (N,H,W,C) -> y (N,H,W,O), plus `bias` (O), or null; see opsin_winograd for `clipped`. */
void opsin_narrow(const float *x, const float *filters, const float *bias, float *y, uint8_t *clipped, float *work,
                  int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int threads) {
    const shape s = {height, width, in, out};
#pragma omp parallel num_threads(threads)
    {
        float *v = work + omp_get_thread_num() * opsin_narrow_work_size(width, in);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < images * height; row++) {
            copy(x + row / height * height * width * in, v, row % height, &s);
            forward(v, filters, bias, y + row * width * out, clipped ? clipped + row * width * bit_bytes(out) : 0, &s);
        }
    }
}

/* n channels of a gradient behind a ReLU, zeros where it clipped. */
INLINE void unclipped(const float *grad, const uint8_t *clipped, float *to, int64_t c, int n) {
    const vec g = load(grad + c, n);
    store(to + c, clipped ? without(g, load_bits(clipped + c / 8, n)) : g, n);
}

/* One row of gradients (width, O) by the filters -> (width, panels * PANEL) */
static void spread(const float *grad, const uint8_t *clipped, const float *filters, float *v, float *m,
                   const shape *s) {
    const int64_t stride = panels(9 * s->in) * PANEL, whole = s->out - s->out % WIDE;
    for (int64_t first = 0; first < s->width; first += BLOCK) {
        const int64_t count = s->width - first < BLOCK ? s->width - first : BLOCK;
        for (int64_t t = 0; t < count; t++) {
            const float *from = grad + (first + t) * s->out;
            const uint8_t *bits = clipped ? clipped + (first + t) * bit_bytes(s->out) : 0;
            for (int64_t c = 0; c < whole; c += WIDE) unclipped(from, bits, v + t * s->out, c, WIDE);
            if (whole < s->out) unclipped(from, bits, v + t * s->out, whole, (int)(s->out - whole));
        }
        for (int64_t p = 0; p < panels(9 * s->in); p++)
            for (int64_t t = 0; t < count; t += ROWS)
                multiply(v + t * s->out, s->out, filters + p * s->out * PANEL, s->out,
                         m + (first + t) * stride + p * PANEL, stride);
    }
}

/* Adds to one row (width, C) what row k of the filters brings to it from one row of what `spread` gives. */
INLINE void gather(const float *m, int k, float *dx, int64_t width, int64_t in) {
    const int64_t stride = panels(9 * in) * PANEL;
    for (int64_t j = 0; j < width; j++)
        for (int64_t l = j + 1 < width ? 0 : 1; l < (j > 0 ? 3 : 2); l++)
            for (int64_t c = 0; c < in; c++) dx[j * in + c] += m[(j + 1 - l) * stride + (3 * k + l) * in + c];
}

/* The gradient by x (N,H,W,C), out of that by y (N,H,W,O) behind a ReLU whose bits are `clipped`, or null. */
void opsin_narrow_backward(const float *grad, const uint8_t *clipped, const float *filters, float *dx, float *work,
                           int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int threads) {
    const shape s = {height, width, in, out};
    const int64_t bands = (height + BAND - 1) / BAND, row_size = up(width, ROWS) * panels(9 * in) * PANEL;
#pragma omp parallel num_threads(threads)
    {
        float *v = work + omp_get_thread_num() * opsin_narrow_backward_work_size(width, in, out);
        float *rows = v + BLOCK * out; /* the last three */
#pragma omp for schedule(dynamic)
        for (int64_t band = 0; band < images * bands; band++) {
            const int64_t image = band / bands * height, top = band % bands * BAND;
            const int64_t bottom = top + BAND < height ? top + BAND : height;
            for (int64_t i = top > 0 ? top - 1 : 0; i <= bottom; i++) {
                if (i < height) {
                    const int64_t at = (image + i) * width;
                    spread(grad + at * out, clipped ? clipped + at * bit_bytes(out) : 0, filters, v,
                           rows + i % 3 * row_size, &s);
                }
                if (i <= top) continue;
                /* Row i - 1 of the image is seen by rows i, i - 1 and i - 2 of the outputs. */
                float *to = dx + (image + i - 1) * width * in;
                memset(to, 0, 4 * width * in);
                for (int k = 0; k < 3; k++)
                    if (i - k >= 0 && i - k < height) {
                        const float *m = rows + (i - k) % 3 * row_size;
                        if (in == 3) gather(m, k, to, width, 3);
                        else gather(m, k, to, width, in);
                    }
            }
        }
    }
}
