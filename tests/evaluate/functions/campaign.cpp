// Error and monotonicity of a function over all float32 arguments.
//
//   campaign FUNCTION LOW HIGH STRIDE
//
// Every argument whose magnitude is between the floats LOW and HIGH (bits, hexadecimal) and each
// STRIDE-th other one is evaluated, from -infinity upwards; the reference is binary64 libm. Prints
// one line of JSON.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "df_function.h"

namespace {

using df::function_f32;

struct Case {
  const char *name;
  float (*value)(float);
  double (*reference)(double);
  bool falls;  // and jumps from -infinity to +infinity between the zeros
};

template <int kFunction>
float stage(float x) {
  return function_f32(kFunction, x, 0);
}
double ref_reciprocal(double x) { return 1 / x; }
double ref_rsqrt(double x) { return 1 / std::sqrt(x); }
double ref_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double ref_softplus(double x) { return x > 40 ? x : std::log1p(std::exp(x)); }
double ref_exp2(double x) { return std::exp2(x); }
double ref_log2(double x) { return std::log2(x); }
double ref_erf(double x) { return std::erf(x); }
double ref_exp(double x) { return std::exp(x); }
double ref_tanh(double x) { return std::tanh(x); }
double ref_log(double x) { return std::log(x); }
double ref_sqrt(double x) { return std::sqrt(x); }

const Case kCases[] = {
    {"exp2", stage<df::FunctionExp2>, ref_exp2, false},
    {"reciprocal", stage<df::FunctionReciprocal>, ref_reciprocal, true},
    {"rsqrt", stage<df::FunctionRsqrt>, ref_rsqrt, true},
    {"log2", stage<df::FunctionLog2>, ref_log2, false},
    {"erf", df::erf_f32, ref_erf, false},
    {"exp", df::exp_f32, ref_exp, false},
    {"sigmoid", df::sigmoid_f32, ref_sigmoid, false},
    {"tanh", df::tanh_f32, ref_tanh, false},
    {"softplus", df::softplus_f32, ref_softplus, false},
    {"log", df::log_f32, ref_log, false},
    {"sqrt", df::sqrt_f32, ref_sqrt, false},
};

void run(const Case &one, uint32_t low, uint32_t high, uint64_t stride) {
  double relative = 0, relative_far = 0, absolute_near = 0, absolute_tiny = 0;
  float at_relative = 0, at_far = 0, at_near = 0;
  unsigned long long evaluated = 0, back = 0, no_number = 0;
  bool have = false;
  float before = 0;
  uint32_t side = 1;
  for (uint64_t key = 0; key < (uint64_t(1) << 32);) {
    // Keys in the order of the numbers: -NaN, -inf, ..., -0, +0, ..., +inf, NaN.
    const uint32_t k = static_cast<uint32_t>(key);
    const uint32_t bits = k < 0x80000000u ? ~k : k ^ 0x80000000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    const bool inside = magnitude >= low && magnitude <= high;
    key += inside ? 1 : stride;
    if (magnitude > 0x7f800000u) continue;
    const float x = df::as_f32(static_cast<int32_t>(bits));
    const float y = one.value(x);
    const double w = one.reference(static_cast<double>(x));
    ++evaluated;
    if ((y != y) != (w != w)) ++no_number;
    if (y != y) continue;
    if (one.falls && (bits >> 31) != side) have = false;
    if (have && (one.falls ? y > before : y < before)) ++back;
    have = true;
    side = bits >> 31;
    before = y;
    const double size = std::fabs(w);
    if (size == std::numeric_limits<double>::infinity() || size >= 3.4028235677973366e38) {
      if (std::fabs(y) < 3.4028233e38f) ++no_number;  // must be infinite, or the largest number
      continue;
    }
    if (std::isinf(y)) {
      if (size < 3.4028223e38) ++no_number;
      continue;
    }
    const double error = std::fabs(static_cast<double>(y) - w);
    if (size < 1.1754943508222875e-38) {
      if (error > absolute_tiny) absolute_tiny = error;
    } else {
      const double r = error / size;
      if (r > relative) relative = r, at_relative = x;
      if (size >= 0.25 && r > relative_far) relative_far = r, at_far = x;
    }
    if (size < 0.25 && error > absolute_near) absolute_near = error, at_near = x;
  }
  std::printf("{\"name\": \"%s\", \"evaluated\": %llu, \"back\": %llu, \"wrong\": %llu, "
              "\"relative\": %.9g, \"at_relative\": %.9g, \"relative_far\": %.9g, "
              "\"at_far\": %.9g, \"absolute_near\": %.9g, \"at_near\": %.9g, "
              "\"absolute_tiny\": %.9g}\n",
              one.name, evaluated, back, no_number, relative, static_cast<double>(at_relative),
              relative_far, static_cast<double>(at_far), absolute_near,
              static_cast<double>(at_near), absolute_tiny);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const uint32_t low = static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 16));
  const uint32_t high = static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 16));
  const uint64_t stride = std::strtoull(argv[4], nullptr, 10);
  for (const Case &one : kCases) {
    if (std::strcmp(one.name, argv[1]) == 0) {
      run(one, low, high, stride);
      return 0;
    }
  }
  return 2;
}
