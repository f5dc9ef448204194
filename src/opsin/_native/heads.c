/* The mean squared difference of unit vectors, in one pass over both maps, and its gradient in another.

       d = mean over positions of sum_c w_c (x_c / (|x| + eps) - y_c / (|y| + eps))^2

   In torch's operations it takes a dozen passes over memory, which is all that it costs. Lengths are computed again for
   the gradient: the vectors must be read anyway. Zero vectors stay zero, and have no gradient. */

#include <math.h>

#include "vectors.h"

#define CHUNK 128 /* positions summed up by themselves, whoever does it: the sum is the same with any threads */

/* A map (N,H,W,C): channels lie side by side, all else is anywhere. Strides are in floats. */
typedef struct {
    const float *data;
    int64_t image, row, pixel;
} map;

typedef struct {
    int64_t height, width, channels;
    float eps;
} shape;

INLINE const float *at(const map *m, const shape *s, int64_t image, int64_t position) {
    return m->data + image * m->image + position / s->width * m->row + position % s->width * m->pixel;
}

INLINE float total(vec v) {
    float sum = 0;
    for (int i = 0; i < WIDE; i++) sum += v[i];
    return sum;
}

/* |v|^2 */
INLINE float square(const float *v, int64_t channels) {
    vec even = {0}, odd = {0};
    int64_t c = 0;
    for (; c + 2 * WIDE <= channels; c += 2 * WIDE) {
        const vec a = load(v + c, WIDE), b = load(v + c + WIDE, WIDE);
        even += a * a;
        odd += b * b;
    }
    for (; c < channels; c += WIDE) {
        const vec a = load(v + c, channels - c < WIDE ? (int)(channels - c) : WIDE);
        even += a * a;
    }
    return total(even + odd);
}

/* x / (|x| + eps) - y / (|y| + eps) = scale (x - ratio y), exactly 0 for equal vectors even where the compiler fuses
   the multiplication with the subtraction. */
typedef struct {
    float length, factor, scale, ratio;
} pair;

INLINE pair compare(const float *x, const float *y, const shape *s) {
    const float a = sqrtf(square(x, s->channels)), b = sqrtf(square(y, s->channels));
    const float factor_x = a == 0 ? 0 : 1 / (a + s->eps), factor_y = b == 0 ? 0 : 1 / (b + s->eps);
    if (a == 0) return (pair){a, 0, factor_y, 1};
    return (pair){a, factor_x, factor_x, factor_y / factor_x};
}

INLINE vec weighted(const float *w, int64_t c, int n, vec v) { return w ? load(w + c, n) * v : v; }

/* sum_c w_c (x_c - ratio y_c)^2 */
INLINE float difference(const float *x, const float *y, const float *w, int64_t channels, float ratio) {
    vec sum = {0};
    int64_t c = 0;
    for (; c + WIDE <= channels; c += WIDE) {
        const vec d = load(x + c, WIDE) - ratio * load(y + c, WIDE);
        sum += weighted(w, c, WIDE, d * d);
    }
    if (c < channels) {
        const int n = (int)(channels - c);
        const vec d = load(x + c, n) - ratio * load(y + c, n);
        sum += weighted(w, c, n, d * d);
    }
    return total(sum);
}

/* sum_c w_c (x_c - ratio y_c) x_c */
INLINE float along(const float *x, const float *y, const float *w, int64_t channels, float ratio) {
    vec sum = {0};
    int64_t c = 0;
    for (; c + WIDE <= channels; c += WIDE) {
        const vec v = load(x + c, WIDE);
        sum += weighted(w, c, WIDE, (v - ratio * load(y + c, WIDE)) * v);
    }
    if (c < channels) {
        const int n = (int)(channels - c);
        const vec v = load(x + c, n);
        sum += weighted(w, c, n, (v - ratio * load(y + c, n)) * v);
    }
    return total(sum);
}

/* n channels of the gradient: across w_c (x_c - ratio y_c) - inward x_c */
INLINE void slope(const float *x, const float *y, const float *w, int64_t c, int n, float ratio, float across,
                  float inward, float *to) {
    const vec v = load(x + c, n);
    store(to + c, across * weighted(w, c, n, v - ratio * load(y + c, n)) - inward * v, n);
}

/* The gradient at one position, `grad` that of its summand. */
INLINE void gradient(const float *x, const float *y, const float *w, const shape *s, float grad, float *to) {
    const pair p = compare(x, y, s);
    if (p.length == 0) {
        memset(to, 0, 4 * s->channels);
        return;
    }
    const float across = 2 * grad * p.scale * p.factor;
    const float inward = across * p.factor * along(x, y, w, s->channels, p.ratio) / p.length;
    int64_t c = 0;
    for (; c + WIDE <= s->channels; c += WIDE) slope(x, y, w, c, WIDE, p.ratio, across, inward, to);
    if (c < s->channels) slope(x, y, w, c, (int)(s->channels - c), p.ratio, across, inward, to);
}

static int64_t chunks(int64_t positions) { return (positions + CHUNK - 1) / CHUNK; }

static int64_t end(int64_t chunk, int64_t positions) {
    return (chunk + 1) * CHUNK < positions ? (chunk + 1) * CHUNK : positions;
}

/* Doubles that the sums of the chunks take. */
int64_t opsin_unit_l2_work_size(int64_t images, int64_t positions) { return images * chunks(positions); }

/* x, y (N,H,W,C) -> d (N). `weights` (C): or null. Strides are those of images, rows and pixels, 0 of a y that is one
   for all images. */
void opsin_unit_l2(const float *x, const int64_t *x_strides, const float *y, const int64_t *y_strides,
                   const float *weights, float eps, double *work, float *d, int64_t images, int64_t height,
                   int64_t width, int64_t channels, int threads) {
    const map mx = {x, x_strides[0], x_strides[1], x_strides[2]}, my = {y, y_strides[0], y_strides[1], y_strides[2]};
    const shape s = {height, width, channels, eps};
    const int64_t positions = height * width, per_image = chunks(positions);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t k = 0; k < images * per_image; k++) {
        const int64_t image = k / per_image, chunk = k % per_image;
        double sum = 0;
        for (int64_t p = chunk * CHUNK; p < end(chunk, positions); p++) {
            const float *a = at(&mx, &s, image, p), *b = at(&my, &s, image, p);
            const pair q = compare(a, b, &s);
            sum += (double)q.scale * q.scale * difference(a, b, weights, channels, q.ratio);
        }
        work[k] = sum;
    }
    for (int64_t image = 0; image < images; image++) {
        double sum = 0;
        for (int64_t chunk = 0; chunk < per_image; chunk++) sum += work[image * per_image + chunk];
        d[image] = (float)(sum / (double)positions);
    }
}

/* The gradient by x (N,H,W,C), out of that by d (N). */
void opsin_unit_l2_backward(const float *grad, const float *x, const int64_t *x_strides, const float *y,
                            const int64_t *y_strides, const float *weights, float eps, float *dx, int64_t images,
                            int64_t height, int64_t width, int64_t channels, int threads) {
    const map mx = {x, x_strides[0], x_strides[1], x_strides[2]}, my = {y, y_strides[0], y_strides[1], y_strides[2]};
    const shape s = {height, width, channels, eps};
    const int64_t positions = height * width, per_image = chunks(positions);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t k = 0; k < images * per_image; k++) {
        const int64_t image = k / per_image, chunk = k % per_image;
        for (int64_t p = chunk * CHUNK; p < end(chunk, positions); p++)
            gradient(at(&mx, &s, image, p), at(&my, &s, image, p), weights, &s, grad[image] / (float)positions,
                     dx + (image * positions + p) * channels);
    }
}
