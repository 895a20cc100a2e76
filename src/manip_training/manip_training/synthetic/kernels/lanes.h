// Arithmetic on lanes: the same source is one thread of a GPU, or LANES items at once on a CPU.
//
// F, I, U are float, int and unsigned lanes, M the outcome of a comparison. Where MANIP_CUDA is
// defined they are plain scalars; otherwise vectors of the compiler (GCC's vector extension, which
// Clang knows as well), and the few operations that it lacks are written out here.
#pragma once

#ifdef MANIP_CUDA

#define FN static __device__ __forceinline__
#define LANES 1
typedef float F;
typedef int I;
typedef unsigned U;
typedef bool M;

FN F splat(float value) { return value; }
FN I splat_int(int value) { return value; }
FN I lane_index() { return 0; }
FN F pick(M mask, F yes, F no) { return mask ? yes : no; }
FN I pick_int(M mask, I yes, I no) { return mask ? yes : no; }
FN M negate(M mask) { return !mask; }
FN bool some(M mask) { return mask; }
FN F to_float(I value) { return float(value); }
FN I to_int(F value) { return int(value); }
FN U as_unsigned(I value) { return U(value); }
FN I as_int(U value) { return I(value); }
FN I bits_of(F value) { return __float_as_int(value); }
FN F from_bits(I value) { return __int_as_float(value); }
FN F root(F value) { return sqrtf(value); }
FN F smaller(F a, F b) { return a < b ? a : b; }
FN F larger(F a, F b) { return a > b ? a : b; }
FN F gather(const float* from, I index) { return from[index]; }
FN I gather_int(const int* from, I index) { return from[index]; }
FN float first(F value) { return value; }

#else

#include <cmath>
#include <cstring>
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define MANIP_AVX512
#include <immintrin.h>
#elif defined(__AVX2__)
#define MANIP_AVX2
#include <immintrin.h>
#endif

#define FN static inline __attribute__((always_inline))
#ifdef MANIP_AVX512
#define LANES 16
#else
#define LANES 8
#endif
typedef float F __attribute__((vector_size(4 * LANES)));
typedef int I __attribute__((vector_size(4 * LANES)));
typedef unsigned U __attribute__((vector_size(4 * LANES)));
typedef I M;

FN F splat(float value) { return F{} + value; }
FN I splat_int(int value) { return I{} + value; }
FN I lane_index() {
    I lanes;
    for (int k = 0; k < LANES; ++k) lanes[k] = k;
    return lanes;
}
FN I bits_of(F value) { return (I)value; }
FN F from_bits(I value) { return (F)value; }
FN F pick(M mask, F yes, F no) { return mask ? yes : no; }
FN I pick_int(M mask, I yes, I no) { return mask ? yes : no; }
FN M negate(M mask) { return ~mask; }
FN F to_float(I value) { return __builtin_convertvector(value, F); }
FN I to_int(F value) { return __builtin_convertvector(value, I); }
FN U as_unsigned(I value) { return (U)value; }
FN I as_int(U value) { return (I)value; }
FN F smaller(F a, F b) { return a < b ? a : b; }
FN F larger(F a, F b) { return a > b ? a : b; }
FN float first(F value) { return value[0]; }

#if defined(MANIP_AVX512)
FN unsigned mask_bits(M mask) { return _mm512_movepi32_mask((__m512i)mask); }
FN F root(F value) { return (F)_mm512_sqrt_ps((__m512)value); }
FN F gather(const float* from, I index) { return (F)_mm512_i32gather_ps((__m512i)index, from, 4); }
FN I gather_int(const int* from, I index) {
    return (I)_mm512_i32gather_epi32((__m512i)index, from, 4);
}
#elif defined(MANIP_AVX2)
FN unsigned mask_bits(M mask) { return (unsigned)_mm256_movemask_ps((__m256)mask); }
FN F root(F value) { return (F)_mm256_sqrt_ps((__m256)value); }
FN F gather(const float* from, I index) { return (F)_mm256_i32gather_ps(from, (__m256i)index, 4); }
FN I gather_int(const int* from, I index) {
    return (I)_mm256_i32gather_epi32(from, (__m256i)index, 4);
}
#else
FN unsigned mask_bits(M mask) {
    unsigned bits = 0;
    for (int k = 0; k < LANES; ++k) bits |= (mask[k] ? 1u : 0u) << k;
    return bits;
}
FN F root(F value) {
    for (int k = 0; k < LANES; ++k) value[k] = std::sqrt(value[k]);
    return value;
}
FN F gather(const float* from, I index) {
    F out;
    for (int k = 0; k < LANES; ++k) out[k] = from[index[k]];
    return out;
}
FN I gather_int(const int* from, I index) {
    I out;
    for (int k = 0; k < LANES; ++k) out[k] = from[index[k]];
    return out;
}
#endif
FN bool some(M mask) { return mask_bits(mask) != 0; }
FN F load(const float* from) {
    F out;
    std::memcpy(&out, from, sizeof(F));
    return out;
}
FN void store(float* to, F value) { std::memcpy(to, &value, sizeof(F)); }

#endif

FN F clamp(F value, float low, float high) {
    return smaller(larger(value, splat(low)), splat(high));
}
FN I clamp_int(I value, int low, int high) {
    value = pick_int(value < low, splat_int(low), value);
    return pick_int(value > high, splat_int(high), value);
}
FN F magnitude(F value) { return larger(value, -value); }
FN F floor_of(F value) {
    F whole = to_float(to_int(value));
    return pick(whole > value, whole - 1.0f, whole);
}
FN F mix(F a, F b, F share) { return a + (b - a) * share; }
// From 0 to 1 around `middle`, within `half` to either side, a cubic.
FN F smooth_step(F value, F middle, F half) {
    F t = clamp((value - middle) / (2.0f * half) + 0.5f, 0.0f, 1.0f);
    return t * t * (3.0f - 2.0f * t);
}

// Base 2 logarithm of positive lanes, to 1e-7: atanh series about the nearest power of two.
FN F log2_of(F value) {
    I bits = bits_of(larger(value, splat(1e-30f)));
    I exponent = (bits - 0x3f3504f3) >> 23;  // the mantissa is then in [sqrt(1/2), sqrt(2))
    F mantissa = from_bits(bits - (exponent << 23));
    F t = (mantissa - 1.0f) / (mantissa + 1.0f);
    F s = t * t;
    F series = 1.0f + s * (1.0f / 3.0f + s * (1.0f / 5.0f + s * (1.0f / 7.0f)));
    return to_float(exponent) + 2.8853900817779268f * t * series;
}

// Two to the power of lanes, to 1e-7: Taylor series about the nearest whole number.
FN F exp2_of(F value) {
    value = clamp(value, -126.0f, 126.0f);
    F whole = floor_of(value + 0.5f);
    F x = (value - whole) * 0.6931471805599453f;
    F series = 1.0f + x * (1.0f / 5.0f) * (1.0f + x * (1.0f / 6.0f) * (1.0f + x * (1.0f / 7.0f)));
    series = 1.0f + x * 0.5f * (1.0f + x * (1.0f / 3.0f) * (1.0f + x * 0.25f * series));
    series = 1.0f + x * series;
    return from_bits(bits_of(series) + (to_int(whole) << 23));
}
FN F power(F base, F exponent) { return exp2_of(exponent * log2_of(base)); }

// Vectors, of lanes or of plain floats that all lanes share.
template <class T>
struct V3 {
    T x, y, z;
};
template <class A, class B>
FN auto dot(V3<A> a, V3<B> b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <class T>
FN V3<T> cross(V3<T> a, V3<T> b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
template <class T>
FN V3<T> minus(V3<T> a, V3<T> b) {
    return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <class T, class S>
FN auto times(V3<T> a, S scale) {
    return V3<decltype(a.x * scale)>{a.x * scale, a.y * scale, a.z * scale};
}
template <class A, class B>
FN auto plus(V3<A> a, V3<B> b) {
    return V3<decltype(a.x + b.x)>{a.x + b.x, a.y + b.y, a.z + b.z};
}
FN V3<F> gather3(const float* from, I item) {
    I at = item * 3;
    return {gather(from, at), gather(from, at + 1), gather(from, at + 2)};
}
FN V3<float> load3(const float* from) { return {from[0], from[1], from[2]}; }
