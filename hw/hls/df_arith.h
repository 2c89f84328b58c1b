// Vector arithmetic: int32 modulo 2^32 and IEEE binary32, each operation rounded once.
//
// The compiler must not contract a * b + c: build with -ffp-contract=off.
#ifndef DF_ARITH_H_
#define DF_ARITH_H_

#include <cmath>
#include <cstdint>
#include <cstring>

namespace df {

inline float as_f32(int32_t bits) {
#pragma HLS INLINE
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline int32_t as_i32(float value) {
#pragma HLS INLINE
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// int32 to binary32, nearest even.
inline float to_f32(int32_t value) {
#pragma HLS INLINE
  return static_cast<float>(value);
}

// a * b + c with one rounding, from double operations: the product is exact in double, the sum is
// rounded to odd there, after which rounding to float is correct (Boldo and Melquiond, 2008).
inline float fma_odd(float a, float b, float c) {
#pragma HLS INLINE
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  double total = product + addend;
  const double back = total - product;
  const double error = (product - (total - back)) + (addend - back);
  int64_t bits;
  std::memcpy(&bits, &total, sizeof bits);
  const bool finite = ((bits >> 52) & 0x7ff) != 0x7ff;
  if (finite && error != 0.0 && (bits & 1) == 0) {
    bits += ((error > 0.0) == (total > 0.0)) ? 1 : -1;
    std::memcpy(&total, &bits, sizeof total);
  }
  return static_cast<float>(total);
}

inline float fma_f32(float a, float b, float c) {
#pragma HLS INLINE
#if defined(__SYNTHESIS__) || defined(DF_SOFT_FMA)
  return fma_odd(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

// Maximum and minimum of numbers; of two zeros the maximum is +0 when either is, the minimum -0.
inline float max_f32(float a, float b) {
#pragma HLS INLINE
  return a > b ? a : (b > a ? b : as_f32(as_i32(a) & as_i32(b)));
}

inline float min_f32(float a, float b) {
#pragma HLS INLINE
  return a < b ? a : (b < a ? b : as_f32(as_i32(a) | as_i32(b)));
}

inline int32_t add_i32(int32_t a, int32_t b) {
#pragma HLS INLINE
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

inline int32_t max_i32(int32_t a, int32_t b) {
#pragma HLS INLINE
  return a > b ? a : b;
}

inline int32_t min_i32(int32_t a, int32_t b) {
#pragma HLS INLINE
  return a < b ? a : b;
}

// clamp(nearest even integer + zero, low, high); the integer saturates at +-2^30, NaN gives -2^30.
inline int32_t to_int(float value, int32_t zero, int32_t low, int32_t high) {
#pragma HLS INLINE
  const float limit = 1073741824.0f;
  const float bounded = value >= limit ? limit : (value > -limit ? value : -limit);
  const int32_t rounded = static_cast<int32_t>(std::rint(bounded)) + zero;
  return max_i32(low, min_i32(rounded, high));
}

}  // namespace df

#endif  // DF_ARITH_H_
