// Types of the generated accelerator, and the macros that differ between C simulation and synthesis.
//
// df_config.h (generated) holds every size: array rows and columns, lanes of a buffer line, feed
// ports, bytes of a memory word, lines of each buffer. This library holds no number that depends on
// the architecture.
#ifndef DF_TYPES_H_
#define DF_TYPES_H_

#include <cstdint>

#include "df_config.h"

#ifdef __SYNTHESIS__
#define DF_NOINLINE
#else
// One copy of each engine, as in hardware: it keeps the build at seconds.
#define DF_NOINLINE __attribute__((noinline))
#endif

namespace df {

typedef uint32_t addr_t;  // byte address in a memory: at most 4 GiB, sums wrap
typedef int16_t diff_t;   // code minus zero point, 9 bits used

// What one AXI beat and one address of the on-chip memory hold.
struct word_t {
  uint8_t byte[kWord];
};

// Buffers: a line is read or written in one cycle, so its lanes are partitioned completely.
typedef diff_t x_line_t[kLine];   // first source: channels of one point
typedef diff_t s_line_t[kLine];   // second source
typedef diff_t w_line_t[kCols];   // stationary operand: one reduction index, all columns
typedef int32_t acc_line_t[kCols];
typedef int32_t p_line_t[kCols];  // per-channel parameters, int32 or binary32 patterns
typedef uint8_t o_line_t[kCols];  // output codes

inline int least(int a, int b) {
#pragma HLS INLINE
  return a < b ? a : b;
}

inline int most(int a, int b) {
#pragma HLS INLINE
  return a > b ? a : b;
}

inline int ceil_div(int a, int b) {
#pragma HLS INLINE
  return (a + b - 1) / b;
}

}  // namespace df

// The testbench looks at tensors after the layer that completes them; hardware has no such tap.
#if defined(DF_CSIM) && !defined(__SYNTHESIS__)
void df_tap(int tensor, bool on_chip, const df::word_t *memory, df::addr_t offset);
#define DF_TAP(tensor, on_chip, memory, offset) df_tap(tensor, on_chip, memory, offset)
#else
#define DF_TAP(tensor, on_chip, memory, offset)
#endif

#endif  // DF_TYPES_H_
