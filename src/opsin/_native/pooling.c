/* Max pooling by 2x2 of float32 images in NHWC, and its gradient. The places of the maxima are kept in two bits for each
   of them: those of the column, then those of the row. Of equal ones the first in rows counts, and a NaN is greater than
   anything, as in torch. */

#include "vectors.h"

INLINE mask greater(vec a, vec b) { return (a > b) | (a != a); }

INLINE vec choose(mask first, vec a, vec b) { return (vec)((first & (mask)a) | (~first & (mask)b)); }

/* n channels of the maximum of from[4], and its places. */
INLINE void pool(const float *const *from, float *to, uint8_t *columns, uint8_t *rows, int64_t c, int n) {
    const vec a = load(from[0] + c, n), b = load(from[1] + c, n), d = load(from[2] + c, n), e = load(from[3] + c, n);
    const mask right = greater(b, a), right_below = greater(e, d);
    const vec top = choose(right, b, a), bottom = choose(right_below, e, d);
    const mask below = greater(bottom, top);
    store(to + c, choose(below, bottom, top), n);
    store_bits(columns + c / 8, (below & right_below) | (~below & right), n);
    store_bits(rows + c / 8, below, n);
}

/* n channels of a gradient, to those of to[4] that the places tell, and zeros to the others. */
INLINE void unpool(const float *grad, const uint8_t *columns, const uint8_t *rows, float *const *to, int64_t c, int n) {
    const vec g = load(grad + c, n);
    const mask right = load_bits(columns + c / 8, n), below = load_bits(rows + c / 8, n);
    store(to[0] + c, without(g, right | below), n);
    store(to[1] + c, without(g, ~right | below), n);
    store(to[2] + c, without(g, right | ~below), n);
    store(to[3] + c, without(g, ~right | ~below), n);
}

/* x (N,H,W,C) -> y (N,H/2,W/2,C), rounded down, and its places (N,H/2,W/2,2,bytes) */
void opsin_max_pool(const float *x, float *y, uint8_t *places, int64_t images, int64_t height, int64_t width,
                    int64_t channels, int threads) {
    const int64_t down = height / 2, across = width / 2, bytes = bit_bytes(channels), whole = channels - channels % WIDE;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < images * down; row++)
        for (int64_t j = 0; j < across; j++) {
            const float *top = x + ((row / down * height + row % down * 2) * width + 2 * j) * channels;
            const float *below = top + width * channels;
            const float *from[4] = {top, top + channels, below, below + channels};
            const int64_t at = row * across + j;
            uint8_t *columns = places + 2 * at * bytes, *rows = columns + bytes;
            for (int64_t c = 0; c < whole; c += WIDE) pool(from, y + at * channels, columns, rows, c, WIDE);
            if (whole < channels) pool(from, y + at * channels, columns, rows, whole, (int)(channels - whole));
        }
}

/* The gradient by x (N,H,W,C), out of that by y (N,H/2,W/2,C). */
void opsin_max_pool_backward(const float *grad, const uint8_t *places, float *dx, int64_t images, int64_t height,
                             int64_t width, int64_t channels, int threads) {
    const int64_t down = height / 2, across = width / 2, bytes = bit_bytes(channels), whole = channels - channels % WIDE;
    /* With a last row of an odd height, which no maximum is in. */
    const int64_t pairs = (height + 1) / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t pair = 0; pair < images * pairs; pair++) {
        const int64_t image = pair / pairs, i = pair % pairs;
        float *first = dx + (image * height + 2 * i) * width * channels;
        if (i == down) {
            memset(first, 0, 4 * width * channels);
            continue;
        }
        for (int64_t j = 0; j < across; j++) {
            float *top = first + 2 * j * channels, *below = top + width * channels;
            float *to[4] = {top, top + channels, below, below + channels};
            const int64_t at = (image * down + i) * across + j;
            const float *g = grad + at * channels;
            const uint8_t *columns = places + 2 * at * bytes, *rows = columns + bytes;
            for (int64_t c = 0; c < whole; c += WIDE) unpool(g, columns, rows, to, c, WIDE);
            if (whole < channels) unpool(g, columns, rows, to, whole, (int)(channels - whole));
        }
        if (width % 2)
            for (int64_t row = 0; row < 2; row++) memset(first + ((row + 1) * width - 1) * channels, 0, 4 * channels);
    }
}
