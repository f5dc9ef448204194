/* Max pooling by 2x2 of float32 images in NHWC, and its gradient, which finds the maxima again in the input instead of
   keeping their places. Of equal ones the first in rows counts, and a NaN is greater than anything, as in torch. */

#include "vectors.h"

INLINE mask greater(vec a, vec b) { return (a > b) | (a != a); }

INLINE vec choose(mask first, vec a, vec b) { return (vec)((first & (mask)a) | (~first & (mask)b)); }

/* n channels of the maximum of from[4] and, if `grad` is given, that of its gradient to to[4], else itself to to[0]. */
INLINE void pool(const float *const *from, const float *grad, float *const *to, int64_t c, int n) {
    vec best = load(from[0] + c, n);
    mask at[4] = {~(mask){0}};
    for (int k = 1; k < 4; k++) {
        const vec v = load(from[k] + c, n);
        at[k] = greater(v, best);
        best = choose(at[k], v, best);
        for (int j = 0; j < k; j++) at[j] &= ~at[k];
    }
    if (!grad)
        store(to[0] + c, best, n);
    else
        for (int k = 0; k < 4; k++) store(to[k] + c, without(load(grad + c, n), ~at[k]), n);
}

INLINE void strip(const float *const *from, const float *grad, float *const *to, int64_t channels) {
    int64_t c = 0;
    for (; c + WIDE <= channels; c += WIDE) pool(from, grad, to, c, WIDE);
    if (c < channels) pool(from, grad, to, c, (int)(channels - c));
}

/* x (N,H,W,C) -> y (N,H/2,W/2,C), rounded down */
void opsin_max_pool(const float *x, float *y, int64_t images, int64_t height, int64_t width, int64_t channels,
                    int threads) {
    const int64_t down = height / 2, across = width / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < images * down; row++)
        for (int64_t j = 0; j < across; j++) {
            const float *top = x + ((row / down * height + row % down * 2) * width + 2 * j) * channels;
            const float *below = top + width * channels;
            const float *from[4] = {top, top + channels, below, below + channels};
            float *to[1] = {y + (row * across + j) * channels};
            strip(from, 0, to, channels);
        }
}

/* The gradient by x (N,H,W,C), out of that by y (N,H/2,W/2,C). */
void opsin_max_pool_backward(const float *grad, const float *x, float *dx, int64_t images, int64_t height,
                             int64_t width, int64_t channels, int threads) {
    const int64_t down = height / 2, across = width / 2;
    /* With a last row of an odd height, which no maximum is in. */
    const int64_t pairs = (height + 1) / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t pair = 0; pair < images * pairs; pair++) {
        const int64_t image = pair / pairs, i = pair % pairs;
        const int64_t first = (image * height + 2 * i) * width * channels;
        if (i == down) {
            memset(dx + first, 0, 4 * width * channels);
            continue;
        }
        for (int64_t j = 0; j < across; j++) {
            const int64_t top = first + 2 * j * channels, below = top + width * channels;
            const float *from[4] = {x + top, x + top + channels, x + below, x + below + channels};
            float *to[4] = {dx + top, dx + top + channels, dx + below, dx + below + channels};
            strip(from, grad + ((image * down + i) * across + j) * channels, to, channels);
        }
        if (width % 2)
            for (int64_t row = 0; row < 2; row++)
                memset(dx + first + ((row + 1) * width - 1) * channels, 0, 4 * channels);
    }
}
