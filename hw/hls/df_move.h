// Copies between memories (DRAM behind an AXI master, or the on-chip tensors) and line buffers.
#ifndef DF_MOVE_H_
#define DF_MOVE_H_

#include "df_types.h"

namespace df {

// A block of rows, columns and channels of a tensor; rows and columns outside the tensor are padding.
struct Block {
  addr_t base;              // address of element (0, 0) of the block's batch item and first channel
  int y, x;                 // tensor coordinates of the first row and column, may be negative
  int y_count, x_count;     // rows and columns of the block
  int y_size, x_size;       // rows and columns of the tensor
  int x_step;               // columns from line to line
  int x_lane;               // columns from lane to lane: 1 when lanes run along the row
  addr_t y_bytes, x_bytes;  // address steps
  int c_bytes;              // address step of a channel: 1, or 0 to repeat one byte
  int channels;             // channels of the block
  int lanes;                // channels put into one line
  int line;                 // first line of the buffer
  int y_lines, x_lines;     // line steps
};

inline diff_t difference(uint8_t code, bool is_signed, int zero) {
#pragma HLS INLINE
  const int value = is_signed ? static_cast<int>(static_cast<int8_t>(code)) : static_cast<int>(code);
  return static_cast<diff_t>(value - zero);
}

inline int32_t word(const uint8_t *from, addr_t address) {
#pragma HLS INLINE
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) {
#pragma HLS UNROLL
    bits |= static_cast<uint32_t>(from[address + i]) << (8 * i);
  }
  return static_cast<int32_t>(bits);
}

// Fills lines with code - zero; padding and lanes without a channel become 0. Every feed port has
// its own copy, so that each can read a line of its own in the same cycle.
inline DF_NOINLINE void load_source(const uint8_t *from, const Block block, bool is_signed, int zero,
                                    x_line_t x_tile[kPorts][kXLines]) {
#pragma HLS INLINE off
  for (int iy = 0; iy < block.y_count; ++iy) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
    for (int ix = 0; ix < block.x_count; ++ix) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
      const int y = block.y + iy;
      const int x = block.x + ix * block.x_step;
      const bool row_inside = y >= 0 && y < block.y_size;
      const addr_t address = block.base + y * block.y_bytes + x * block.x_bytes;
      int line = block.line + iy * block.y_lines + ix * block.x_lines;
      for (int c = 0; c < block.channels; c += block.lanes) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
        const int valid = row_inside ? least(block.lanes, block.channels - c) : 0;
        for (int lane = 0; lane < kLine; ++lane) {
#pragma HLS UNROLL
          const int column = x + (c + lane) * block.x_lane;
          diff_t value = 0;
          if (lane < valid && column >= 0 && column < block.x_size) {
            value = difference(from[address + (c + lane) * block.c_bytes], is_signed, zero);
          }
          for (int port = 0; port < kPorts; ++port) {
#pragma HLS UNROLL
            x_tile[port][line][lane] = value;
          }
        }
        ++line;
      }
    }
  }
}

// The same for the second source, which has no padding and one reader.
inline DF_NOINLINE void load_second(const uint8_t *from, const Block block, bool is_signed, int zero,
                                    s_line_t s_tile[kSLines]) {
#pragma HLS INLINE off
  for (int iy = 0; iy < block.y_count; ++iy) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
    for (int ix = 0; ix < block.x_count; ++ix) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
      const addr_t address =
          block.base + (block.y + iy) * block.y_bytes + (block.x + ix) * block.x_bytes;
      int line = block.line + iy * block.y_lines + ix * block.x_lines;
      for (int c = 0; c < block.channels; c += block.lanes) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
        const int valid = least(block.lanes, block.channels - c);
        for (int lane = 0; lane < kLine; ++lane) {
#pragma HLS UNROLL
          diff_t value = 0;
          if (lane < valid) {
            value = difference(from[address + (c + lane) * block.c_bytes], is_signed, zero);
          }
          s_tile[line][lane] = value;
        }
        ++line;
      }
    }
  }
}

// Second source of 32-bit words: `uses` words for each point, the k-th `use_bytes` behind the first.
inline DF_NOINLINE void load_words(const uint8_t *from, const Block block, int uses,
                                   addr_t use_bytes, int32_t s_words[kSWords]) {
#pragma HLS INLINE off
  for (int iy = 0; iy < block.y_count; ++iy) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
    for (int ix = 0; ix < block.x_count; ++ix) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
      const addr_t address =
          block.base + (block.y + iy) * block.y_bytes + (block.x + ix) * block.x_bytes;
      const int first = block.line + iy * block.y_lines + ix * block.x_lines;
      for (int use = 0; use < uses; ++use) {
#pragma HLS PIPELINE II=4
#pragma HLS LOOP_TRIPCOUNT min=1 max=2
        s_words[first + use] = word(from, address + use * use_bytes);
      }
    }
  }
}

// Output lines to a memory. `lanes` channels stand in a line.
inline DF_NOINLINE void store_block(const o_line_t o_tile[kOLines], const Block block, uint8_t *to) {
#pragma HLS INLINE off
  for (int iy = 0; iy < block.y_count; ++iy) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
    for (int ix = 0; ix < block.x_count; ++ix) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
#pragma HLS PIPELINE II=1
      const addr_t address =
          block.base + (block.y + iy) * block.y_bytes + (block.x + ix) * block.x_bytes;
      const int line = block.line + iy * block.y_lines + ix * block.x_lines;
      for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS UNROLL
        if (lane < block.channels) {
          to[address + lane] = o_tile[line][lane];
        }
      }
    }
  }
}

// Per-channel parameters of `blocks` column blocks: 32-bit words, zero behind the last channel.
inline DF_NOINLINE void load_params(const uint8_t *from, addr_t base, int channels, int line,
                                    p_line_t p_tile[kPLines]) {
#pragma HLS INLINE off
  for (int c = 0; c < channels; c += kCols) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
    for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS PIPELINE II=4
      p_tile[line][lane] = c + lane < channels ? word(from, base + 4 * (c + lane)) : 0;
    }
    ++line;
  }
}

// A tensor that stays on chip but enters from DRAM.
inline DF_NOINLINE void fill(const uint8_t *from, addr_t source, uint8_t *to, addr_t target,
                             addr_t bytes) {
#pragma HLS INLINE off
  for (addr_t i = 0; i < bytes; ++i) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_TRIPCOUNT min=1 max=65536
    to[target + i] = from[source + i];
  }
}

}  // namespace df

#endif  // DF_MOVE_H_
