/* The compiler's own vectors, the same in gcc and clang whatever the processor. */

#ifndef OPSIN_VECTORS_H
#define OPSIN_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Where registers are smaller than 32 bytes the compiler takes two: a mask's bits are then whole bytes everywhere. */
#if defined(__AVX512F__)
#define BYTES 64
#else
#define BYTES 32
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

/* Bytes that one bit for each of n channels takes. */
INLINE int64_t bit_bytes(int64_t n) { return (n + 7) / 8; }

/* A bit for each of n lanes, that of the first one lowest. */
INLINE void store_bits(uint8_t *to, mask m, int n) {
#if defined(__AVX512F__)
    const uint16_t bits = _mm512_movepi32_mask((__m512i)m);
#elif defined(__AVX__)
    const uint8_t bits = (uint8_t)_mm256_movemask_ps((__m256)m);
#else
    uint8_t bits = 0;
    for (int i = 0; i < WIDE; i++) bits |= (uint8_t)((m[i] & 1) << i);
#endif
    memcpy(to, &bits, bit_bytes(n));
}

/* The lanes whose bits are set. */
INLINE mask load_bits(const uint8_t *from, int n) {
    int32_t bits = 0;
    mask lane;
    memcpy(&bits, from, bit_bytes(n));
    for (int i = 0; i < WIDE; i++) lane[i] = 1 << i;
    return (lane & bits) != 0;
}

/* The first or the second halves of two vectors, lane by lane in turn. */
#if BYTES == 64
#define FIRST 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#else
#define FIRST 0, 8, 1, 9, 2, 10, 3, 11
#define SECOND 4, 12, 5, 13, 6, 14, 7, 15
#endif
#if defined(__clang__)
#define LANES(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LANES(a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

/* WIDE rows of as many floats, to columns. */
INLINE void transpose(const float *from, int64_t stride, float *to, int64_t to_stride) {
    vec row[WIDE], next[WIDE];
    for (int i = 0; i < WIDE; i++) row[i] = load(from + i * stride, WIDE);
    /* Shuffled like a pack of cards, as often as WIDE can be halved. */
    for (int n = 1; n < WIDE; n *= 2) {
        for (int i = 0; i < WIDE / 2; i++) {
            next[2 * i] = LANES(row[i], row[i + WIDE / 2], FIRST);
            next[2 * i + 1] = LANES(row[i], row[i + WIDE / 2], SECOND);
        }
        for (int i = 0; i < WIDE; i++) row[i] = next[i];
    }
    for (int i = 0; i < WIDE; i++) store(to + i * to_stride, row[i], WIDE);
}

#endif
