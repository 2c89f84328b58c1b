// The stationary operand: codes from a memory into the lines of the weight buffer.
//
// A line holds all columns of one reduction index. Lines of a column block stand in the order
// (tap, packed group, channel), in which the array consumes them.
#ifndef DF_WEIGHTS_H_
#define DF_WEIGHTS_H_

#include "df_move.h"

namespace df {

// Weights of one tile: `groups` groups side by side.
struct WeightBlock {
  Block group;         // of the first group: rows are taps, points are rows of the operand
  int groups;
  addr_t group_bytes;  // steps from group to group: address, lines, lanes
  int group_lines;
  int group_lanes;
  int columns;         // of all groups
  bool is_signed;
  int zero;            // zero point of all columns, or, with
  bool own_zeros;      // one for each column,
  addr_t zeros;        // the address of the first: int32 numbers in the image of the weights
};

inline void load_zeros(const word_t *table, const WeightBlock &block, w_line_t zeros[kZLines]) {
#pragma HLS INLINE
  if (block.own_zeros) {
    load_table(table, block.zeros, block.columns, 0, zeros);
  } else {
    int line = 0;
    for (int c = 0; c < block.columns; c += kCols) {
#pragma HLS PIPELINE II=1
      for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS UNROLL
        zeros[line][lane] = static_cast<diff_t>(block.zero);
      }
      ++line;
    }
  }
}

// Columns are contiguous. Groups that share the array stand on the diagonal; the rest of their lines
// is 0.
inline DF_NOINLINE void load_weights(const word_t *from, const word_t *table,
                                     const WeightBlock block, w_line_t w_tile[kWLines]) {
#pragma HLS INLINE off
  w_line_t zeros[kZLines];
#pragma HLS ARRAY_PARTITION variable=zeros dim=2 type=complete
  load_zeros(table, block, zeros);
  Block group = block.group;
  for (int i = 0; i < block.groups; ++i) {
    load(from, group, block.is_signed, static_cast<const w_line_t *>(zeros), w_tile);
    group.base += block.group_bytes;
    group.line += block.group_lines;
    group.lane += block.group_lanes;
  }
}

// Reduction indices are contiguous: points are columns of the operand, channels its rows. A byte a
// cycle, since the bytes of a word belong to different lines.
inline DF_NOINLINE void load_transposed_weights(const word_t *from, const word_t *table,
                                                const WeightBlock block,
                                                w_line_t w_tile[kWLines]) {
#pragma HLS INLINE off
  w_line_t zeros[kZLines];
#pragma HLS ARRAY_PARTITION variable=zeros dim=2 type=complete
  load_zeros(table, block, zeros);
  word_t row[kRowWords];
#pragma HLS AGGREGATE variable=row compact=bit
#pragma HLS BIND_STORAGE variable=row type=ram_2p
  const Block &group = block.group;
  addr_t column_base = group.base;
  int block_line = group.line;
  int zero_line = 0, lane = 0;
  const int columns = ceil_div(group.x_count, kCols) * kCols;  // the last block's rest becomes 0
  for (int column = 0; column < columns; ++column) {
    const bool inside = column < group.x_count;
    for (int k = 0; k < group.channels; k += kRowBytes) {
      const int rows = least(kRowBytes, group.channels - k);
      const addr_t address = column_base + k;
      if (inside) {
        fetch(from, address, rows, row);
      }
      addr_t position = kWord + address % kWord;
      for (int i = 0; i < rows; ++i) {
#pragma HLS PIPELINE II=1
        const uint8_t code = row[position / kWord].byte[position % kWord];
        const int number =
            block.is_signed ? static_cast<int>(static_cast<int8_t>(code)) : static_cast<int>(code);
        w_tile[block_line + k + i][lane] =
            inside ? static_cast<diff_t>(number - zeros[zero_line][lane]) : diff_t(0);
        ++position;
      }
    }
    column_base += group.x_bytes;
    if (++lane == kCols) {
      lane = 0;
      ++zero_line;
      block_line += group.c_lines;
    }
  }
}

}  // namespace df

#endif  // DF_WEIGHTS_H_
