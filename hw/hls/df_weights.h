// The stationary operand: codes from a memory into the lines of the weight buffer.
//
// A line holds all columns of one reduction index. Lines of a column block stand in the order
// (tap, packed group, channel), in which the array consumes them.
#ifndef DF_WEIGHTS_H_
#define DF_WEIGHTS_H_

#include "df_move.h"

namespace df {

// Weights of one tile: `groups` groups side by side, each `rows` x `columns`, for every tap.
struct WeightBlock {
  addr_t base;         // first tap, row and column of the first group
  addr_t group_bytes;  // address steps
  addr_t tap_bytes;
  addr_t row_bytes;
  addr_t column_bytes;
  int groups, taps, rows, columns;
  int line;            // first line of the buffer
  bool is_signed;
  int zero;            // zero point of all columns, or
  addr_t zeros;        // address of one int32 for each column, -1 for none
  int group_zeros;     // columns of a group in that table
};

inline int32_t zero_point(const uint8_t *table, const WeightBlock &block, int group, int column) {
#pragma HLS INLINE
  return block.zeros < 0
             ? block.zero
             : word(table, block.zeros + 4 * (addr_t(group) * block.group_zeros + column));
}

// Groups that share the array stand on the diagonal; the rest of their lines is 0.
inline DF_NOINLINE void load_weights(const uint8_t *from, const uint8_t *table,
                                     const WeightBlock block, w_line_t w_tile[kWLines]) {
#pragma HLS INLINE off
  const int blocks = ceil_div(block.groups * block.columns, kCols);
  const int segment = block.groups * block.rows;
  for (int n = 0; n < blocks; ++n) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
    for (int group = 0; group < block.groups; ++group) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=4
      int32_t zeros[kCols];
#pragma HLS ARRAY_PARTITION variable=zeros dim=1 type=complete
      for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS PIPELINE II=4
        const int column = n * kCols + lane - group * block.columns;
        const bool inside = column >= 0 && column < block.columns;
        zeros[lane] = inside ? zero_point(table, block, group, column) : 0;
      }
      for (int tap = 0; tap < block.taps; ++tap) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=9
        for (int row = 0; row < block.rows; ++row) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
#pragma HLS PIPELINE II=1
          const addr_t address = block.base + group * block.group_bytes + tap * block.tap_bytes +
                                 row * block.row_bytes;
          const int line =
              block.line + (n * block.taps + tap) * segment + group * block.rows + row;
          for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS UNROLL
            const int column = n * kCols + lane - group * block.columns;
            diff_t value = 0;
            if (column >= 0 && column < block.columns) {
              const uint8_t code = from[address + column * block.column_bytes];
              value = difference(code, block.is_signed, zeros[lane]);
            }
            w_tile[line][lane] = value;
          }
        }
      }
    }
  }
}

// Depthwise: each column is a group of its own, a line holds one tap.
inline DF_NOINLINE void load_depthwise_weights(const uint8_t *from, const uint8_t *table,
                                               const WeightBlock block, w_line_t w_tile[kWLines]) {
#pragma HLS INLINE off
  const int blocks = ceil_div(block.groups, kCols);
  for (int n = 0; n < blocks; ++n) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
    for (int tap = 0; tap < block.taps; ++tap) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=9
      for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS PIPELINE II=4
        const int group = n * kCols + lane;
        diff_t value = 0;
        if (group < block.groups) {
          const uint8_t code = from[block.base + group * block.group_bytes + tap * block.tap_bytes];
          value = difference(code, block.is_signed, zero_point(table, block, group, 0));
        }
        w_tile[block.line + n * block.taps + tap][lane] = value;
      }
    }
  }
}

}  // namespace df

#endif  // DF_WEIGHTS_H_
