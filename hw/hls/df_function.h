// The function stage of the vector unit, and the functions that are made of it.
//
// Bit for bit dataflow/evaluate/functions (stage.py, composed.py), which says what each function
// does with zeros, infinities and NaNs, and hw/rtl/function/fp32_function.sv. The table comes from
// the generated df_function_table.h.
// Build with -ffp-contract=off.
#ifndef DF_FUNCTION_H_
#define DF_FUNCTION_H_

#include "df_arith.h"
#include "df_function_table.h"

namespace df {

const uint32_t kQuietNan = 0x7fc00000u;
const uint32_t kInfinity = 0x7f800000u;

// The bit length of a number.
inline int length_of(uint64_t value) {
#pragma HLS INLINE
  int length = 0;
  for (int by = 32; by > 0; by /= 2) {
#pragma HLS UNROLL
    if ((value >> by) != 0) {
      value >>= by;
      length += by;
    }
  }
  return length + static_cast<int>(value);
}

// P of the piece that `place` steps behind the function's first row lie in.
inline int64_t function_quadratic(int base, uint32_t place, int step_bits) {
#pragma HLS INLINE
  const uint32_t row = static_cast<uint32_t>(base) + (place >> step_bits);
  const int64_t d = place & ((1u << step_bits) - 1);
  const int64_t inner =
      kFunctionRows[row][1] * (int64_t(1) << kInnerShift) + kFunctionRows[row][2] * d;
  return kFunctionRows[row][0] + ((inner * d) >> kProductShift);
}

// Bits of magnitude * 2^(exponent - C0Fraction), to nearest, halves away from zero.
inline uint32_t function_finish(uint64_t magnitude, int exponent) {
#pragma HLS INLINE
  if (magnitude == 0) return 0;
  const int length = length_of(magnitude);
  const int lead = exponent + length - 1 - kC0Fraction;
  const int down = -126 - lead;
  uint32_t kept = static_cast<uint32_t>(magnitude << (36 - length) >> 11);
  kept = down <= 0 ? kept : down > 31 ? 0 : kept >> down;
  const int field = lead > -126 ? lead + 126 : 0;  // the leading one adds one to it
  const uint64_t bits = (static_cast<uint64_t>(field) << 23) + ((kept + 1) >> 1);
  return bits >= kInfinity ? kInfinity : static_cast<uint32_t>(bits);
}

// The stage. `scale` is added to the exponent of FunctionExp2: its low ten bits, signed.
inline float function_f32(int function, float x, int32_t scale) {
#pragma HLS INLINE
  if (function == FunctionIdentity) return x;
  const uint32_t bits = static_cast<uint32_t>(as_i32(x));
  const bool negative = (bits >> 31) != 0;
  const uint32_t sign = bits & 0x80000000u;
  const int field = static_cast<int>((bits >> 23) & 255);
  const uint32_t fraction = bits & 0x7fffff;
  const bool zero = (bits << 1) == 0;
  const bool infinite = field == 255 && fraction == 0;
  if (field == 255 && fraction != 0) return as_f32(static_cast<int32_t>(kQuietNan));

  uint32_t result;
  if (function == FunctionExp2 || function == FunctionErf) {
    const int exponent = field - 127;
    const uint32_t significand = field == 0 ? 0 : fraction | 0x800000u;
    const uint32_t magnitude = exponent >= 8     ? 0
                               : exponent >= 0   ? significand << exponent
                               : exponent >= -31 ? significand >> -exponent
                                                 : 0;
    if (function == FunctionExp2) {
      const int offset = ((scale + 512) & 1023) - 512;
      const int64_t argument = negative ? -static_cast<int64_t>(magnitude) : magnitude;
      const int64_t total = offset * (int64_t(1) << kStepFraction) + argument;
      const uint32_t place = static_cast<uint32_t>(total) & ((1u << kStepFraction) - 1);
      const int64_t p = function_quadratic(kExp2Row, place, kStepBits);
      result = function_finish(static_cast<uint64_t>(p), static_cast<int>(total >> kStepFraction));
      if (exponent >= 8) result = negative ? 0 : kInfinity;
    } else {
      const uint32_t place = (magnitude >> 24 & 1) != 0   ? 0xc00000u | (magnitude & 0xffffff) >> 2
                             : (magnitude >> 23 & 1) != 0 ? 0x800000u | (magnitude & 0x7fffff) >> 1
                                                          : magnitude & 0x7fffff;
      const int64_t p = function_quadratic(kErfRow, place, kStepBits);
      result = function_finish(static_cast<uint64_t>(p), 0);
      if (exponent >= 2) result = 0x3f800000u;
      result |= sign;
    }
    return as_f32(static_cast<int32_t>(result));
  }

  const int shift = field == 0 ? 24 - length_of(fraction) : 0;
  const uint32_t place = (fraction << shift) & 0x7fffff;
  const int exponent = field == 0 ? -126 - shift : field - 127;
  if (function == FunctionReciprocal) {
    const int64_t p = function_quadratic(kReciprocalRow, place, kStepBits - 1);
    result = function_finish(static_cast<uint64_t>(p), -exponent);
    result = (infinite ? 0 : zero ? kInfinity : result) | sign;
  } else if (function == FunctionRsqrt) {
    const uint32_t odd = static_cast<uint32_t>(exponent & 1) << 23;
    const int64_t p = function_quadratic(kRsqrtRow, place | odd, kStepBits);
    result = function_finish(static_cast<uint64_t>(p), -(exponent >> 1));
    result = zero ? kInfinity | sign : negative ? kQuietNan : infinite ? 0 : result;
  } else {
    const int64_t p = function_quadratic(kLog2Row, place, kStepBits);
    const int64_t total = exponent * (int64_t(1) << kC0Fraction) + p;
    result = function_finish(static_cast<uint64_t>(total < 0 ? -total : total), 0);
    if (total < 0) result |= 0x80000000u;
    result = zero       ? kInfinity | 0x80000000u
             : negative ? kQuietNan
             : infinite ? kInfinity
                        : result;
  }
  return as_f32(static_cast<int32_t>(result));
}

// NaN as the machine has it: libm's fma keeps the sign and the bits of its operand.
inline float canonical_f32(float x) {
#pragma HLS INLINE
  return x != x ? as_f32(static_cast<int32_t>(kQuietNan)) : x;
}

inline float times_f32(float x, float factor) {
#pragma HLS INLINE
  return canonical_f32(fma_f32(x, factor, -0.0f));
}

inline float plus_one_f32(float x) {
#pragma HLS INLINE
  return canonical_f32(fma_f32(x, 1.0f, 1.0f));
}

inline float exp_f32(float x) {
#pragma HLS INLINE
  const int32_t n = to_int(times_f32(x, as_f32(kLog2EBits)), 0, -512, 511);
  const float rest = fma_f32(to_f32(n), -as_f32(kLn2Bits), x);
  return function_f32(FunctionExp2, times_f32(rest, as_f32(kLog2EBits)), n);
}

inline float sigmoid_f32(float x) {
#pragma HLS INLINE
  return function_f32(FunctionReciprocal, plus_one_f32(exp_f32(-x)), 0);
}

inline float tanh_f32(float x) {
#pragma HLS INLINE
  const float half = function_f32(FunctionReciprocal, plus_one_f32(exp_f32(times_f32(x, 2.0f))), 0);
  return canonical_f32(fma_f32(half, -2.0f, 1.0f));
}

inline float log_f32(float x) {
#pragma HLS INLINE
  return times_f32(function_f32(FunctionLog2, x, 0), as_f32(kLn2Bits));
}

inline float softplus_f32(float x) {
#pragma HLS INLINE
  const float low = log_f32(plus_one_f32(exp_f32(min_f32(x, as_f32(kSoftplusLinearBits)))));
  return canonical_f32(max_f32(x, low));
}

inline float sqrt_f32(float x) {
#pragma HLS INLINE
  return function_f32(FunctionReciprocal, function_f32(FunctionRsqrt, x, 0), 0);
}

inline float erf_f32(float x) {
#pragma HLS INLINE
  return function_f32(FunctionErf, x, 0);
}

}  // namespace df

#endif  // DF_FUNCTION_H_
