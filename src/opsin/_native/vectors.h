/* The compiler's own vectors, the same in gcc and clang whatever the processor. */

#ifndef OPSIN_VECTORS_H
#define OPSIN_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define WIDE (BYTES / 4)

typedef float vec __attribute__((vector_size(BYTES)));
typedef int32_t mask __attribute__((vector_size(BYTES)));

#define INLINE static inline __attribute__((always_inline))

/* n floats, and zeros behind them. */
INLINE vec load(const float *from, int n) {
    vec v = {0};
    memcpy(&v, from, 4 * n);
    return v;
}

INLINE void store(float *to, vec v, int n) { memcpy(to, &v, 4 * n); }

/* v where not drop; as bits, so that what is dropped may be a NaN and what is kept stays one. */
INLINE vec without(vec v, mask drop) { return (vec)((mask)v & ~drop); }

#endif
