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

// A binary32 number: sign, significand of 24 bits, biased exponent (a subnormal has that of the
// smallest normal number).
struct Parts {
  bool negative, special;  // special: infinite or no number
  uint32_t significand;
  int exponent;
};

inline Parts parts_of(float value) {
#pragma HLS INLINE
  const uint32_t bits = static_cast<uint32_t>(as_i32(value));
  const int field = static_cast<int>((bits >> 23) & 255);
  const uint32_t fraction = bits & 0x7fffff;
  Parts parts;
  parts.negative = (bits >> 31) != 0;
  parts.special = field == 255;
  parts.significand = field == 0 ? fraction : fraction | 0x800000;
  parts.exponent = field == 0 ? 1 : field;
  return parts;
}

// value >> distance; a one that is shifted out stays as the lowest bit.
inline uint64_t shifted_sticky(uint64_t value, int distance) {
#pragma HLS INLINE
  const int by = distance > 63 ? 63 : distance;
  const uint64_t kept = value >> by;
  return (kept << by) == value ? kept : kept | 1;
}

// a * b + c with one rounding, to nearest even, in integers: as the RTL's unit. The product has 48
// bits, its 2^0 place at bit 50; the addend is put at the same place, whichever exponent is smaller
// is shifted right into 3 guard bits and a sticky bit. Subnormals are exact; a NaN is 0x7fc00000.
inline float fma_int(float a, float b, float c) {
#pragma HLS INLINE
  const Parts pa = parts_of(a), pb = parts_of(b), pc = parts_of(c);
  const bool sign_p = pa.negative != pb.negative;
  const bool zero_p = pa.significand == 0 || pb.significand == 0;
  const int exp_p = zero_p ? pc.exponent : pa.exponent + pb.exponent - 127;
  const int exp = exp_p > pc.exponent ? exp_p : pc.exponent;
  const uint64_t product = static_cast<uint64_t>(pa.significand) * pb.significand;
  const uint64_t p = shifted_sticky(product << 4, exp - exp_p);
  const uint64_t q = shifted_sticky(static_cast<uint64_t>(pc.significand) << 27, exp - pc.exponent);
  const bool same = sign_p == pc.negative;
  const bool p_larger = p >= q;
  const uint64_t sum = same ? p + q : p_larger ? p - q : q - p;
  // Of two equal numbers with opposite signs, and of zeros that differ, the sum is +0.
  const bool negative = sum == 0 ? sign_p && pc.negative : same || p_larger ? sign_p : pc.negative;

  // The leading one to bit 52, or as far as the exponent of subnormals allows.
  uint64_t normal = sum;
  int power = exp + 2;
  for (int by = 32; by > 0; by /= 2) {
#pragma HLS UNROLL
    const bool moves = (normal >> (53 - by)) == 0 && power > by;
    normal = moves ? normal << by : normal;
    power = moves ? power - by : power;
  }
  uint64_t rounded = normal >> 29;
  const uint64_t rest = normal & 0x1fffffff;
  rounded += rest > 0x10000000 || (rest == 0x10000000 && (rounded & 1) != 0) ? 1 : 0;
  // The leading one goes into the exponent's field by addition, and so does a carry; a subnormal
  // has none, and stands with power 1 in field 0.
  uint64_t bits = sum == 0 ? 0 : (static_cast<uint64_t>(power - 1) << 23) + rounded;
  if (bits >= 0x7f800000) bits = 0x7f800000;

  if (pa.special || pb.special || pc.special) {
    const bool none = (pa.special && pa.significand != 0x800000) ||
                      (pb.special && pb.significand != 0x800000) ||
                      (pc.special && pc.significand != 0x800000) ||
                      ((pa.special || pb.special) && (zero_p || (pc.special && !same)));
    const bool sign = pa.special || pb.special ? sign_p : pc.negative;
    return as_f32(none ? 0x7fc00000 : static_cast<int32_t>(0x7f800000u | (sign ? 1u << 31 : 0u)));
  }
  return as_f32(static_cast<int32_t>(static_cast<uint32_t>(bits) | (negative ? 1u << 31 : 0u)));
}

inline float fma_f32(float a, float b, float c) {
#pragma HLS INLINE
#if defined(__SYNTHESIS__) || defined(DF_SOFT_FMA)
  return fma_int(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

// Maximum and minimum; of two zeros the maximum is +0 when either is, the minimum -0. A NaN stays.
inline float max_f32(float a, float b) {
#pragma HLS INLINE
  if (a != a || b != b) return a != a ? a : b;
  return a > b ? a : (b > a ? b : as_f32(as_i32(a) & as_i32(b)));
}

inline float min_f32(float a, float b) {
#pragma HLS INLINE
  if (a != a || b != b) return a != a ? a : b;
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
