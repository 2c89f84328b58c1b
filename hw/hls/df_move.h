// Copies between memories and the buffers of lines.
#ifndef DF_MOVE_H_
#define DF_MOVE_H_

#include "df_memory.h"

namespace df {

// A block of rows, points of a row, and channels of a tensor. What lies outside the tensor's rows, or
// outside the bytes of a row, is padding.
struct Block {
  addr_t base;         // address of byte 0 of row 0 (of the block's batch item and first channel)
  int y, x;            // first row; byte of the first point in its row; may be negative
  int y_count, x_count;
  int y_size, x_size;  // rows of the tensor, bytes of a row
  addr_t y_bytes;      // from row to row
  int x_bytes;         // from point to point
  bool splat;          // one byte stands for all channels
  int channels;        // of a point
  int lanes;           // channels put into one line
  int lines;           // lines of a point
  int run;             // points fetched at once
  int run_lines;       // lines of a point fetched at once: all of them when run is not 1
  int line;            // first line of the buffer
  int y_lines, x_lines, c_lines;  // line steps: row, point, next channels of a point
  int lane;            // lane of the first channel
};

// Zero points: one for all lanes, or a line for each column block.
inline int zero_of(int zero, int, int) {
#pragma HLS INLINE
  return zero;
}

inline int zero_of(const w_line_t *zeros, int block, int lane) {
#pragma HLS INLINE
  return zeros[block][lane];
}

// A line into a buffer; every feed port has its own copy of the first source, so that each can read a
// line of its own in the same cycle.
template <int kLines, int kLanes>
inline void put(diff_t (*tile)[kLines][kLanes], int line, const diff_t value[kWord]) {
#pragma HLS INLINE
  for (int port = 0; port < kPorts; ++port) {
#pragma HLS UNROLL
    for (int lane = 0; lane < kLanes; ++lane) {
#pragma HLS UNROLL
      tile[port][line][lane] = value[lane];
    }
  }
}

template <int kLanes>
inline void put(diff_t (*tile)[kLanes], int line, const diff_t value[kWord]) {
#pragma HLS INLINE
  for (int lane = 0; lane < kLanes; ++lane) {
#pragma HLS UNROLL
    tile[line][lane] = value[lane];
  }
}

// Lines of `points` points, `lines` lines each, as code - zero; padding and lanes without a channel
// become 0. Byte 0 of the row stands at `origin` of the words.
template <typename Zeros, typename Tile>
inline void spread(const word_t *words, addr_t origin, bool inside, const Block &block, int x,
                   int points, int first_line, int lines, int line, bool is_signed, Zeros zeros,
                   Tile tile) {
#pragma HLS INLINE
  int channel = first_line * block.lanes;
  int at = x;  // byte of the point in its row
  int c_line = first_line;
  int point_line = line;
  int line_now = line;
  const int last = first_line + lines;
  const int first_channel = channel;
  const int steps = points * lines;
  for (int step = 0; step < steps; ++step) {
#pragma HLS PIPELINE II=1
    const int count = least(block.lanes, block.channels - channel);
    const int begin = block.splat ? at : at + channel;
    const bool any = inside && begin < block.x_size && begin + kWord > 0;
    // Lane `lane` of the line is the first byte read.
    const word_t codes = bytes_at(words, any ? origin + begin - block.lane : addr_t(0));
#pragma HLS AGGREGATE variable=codes compact=bit
    diff_t value[kWord];
#pragma HLS ARRAY_PARTITION variable=value dim=1 type=complete
    for (int lane = 0; lane < kWord; ++lane) {
#pragma HLS UNROLL
      const int c = lane - block.lane;
      const int byte = block.splat ? begin : begin + c;
      const uint8_t code = codes.byte[block.splat ? 0 : lane];
      const int number =
          is_signed ? static_cast<int>(static_cast<int8_t>(code)) : static_cast<int>(code);
      const bool valid = any && c >= 0 && c < count && byte >= 0 && byte < block.x_size;
      value[lane] = valid ? static_cast<diff_t>(number - zero_of(zeros, c_line, least(lane, kCols - 1)))
                          : diff_t(0);
    }
    put(tile, line_now, value);
    channel += block.lanes;
    line_now += block.c_lines;
    if (++c_line == last) {
      c_line = first_line;
      channel = first_channel;
      at += block.x_bytes;
      point_line += block.x_lines;
      line_now = point_line;
    }
  }
}

// A block from a memory: rows of words are fetched, then spread.
template <typename Zeros, typename Tile>
inline void load(const word_t *from, const Block &block, bool is_signed, Zeros zeros, Tile tile) {
#pragma HLS INLINE
  word_t row[kRowWords];
#pragma HLS AGGREGATE variable=row compact=bit
#pragma HLS BIND_STORAGE variable=row type=ram_2p
  addr_t base = block.base + block.y * block.y_bytes;
  int row_line = block.line;
  for (int iy = 0; iy < block.y_count; ++iy) {
    const bool inside = block.y + iy >= 0 && block.y + iy < block.y_size;
    int x = block.x;
    int x_line = row_line;
    for (int ix = 0; ix < block.x_count; ix += block.run) {
      const int points = least(block.run, block.x_count - ix);
      int line = x_line;
      for (int n = 0; n < block.lines; n += block.run_lines) {
        const int lines = least(block.run_lines, block.lines - n);
        const int channel = n * block.lanes;
        const int depth = block.splat ? 1 : least(lines * block.lanes, block.channels - channel);
        const int begin = block.splat ? x : x + channel;
        const int low = most(begin, 0);
        const int high = least(begin + (points - 1) * block.x_bytes + depth, block.x_size);
        const addr_t address = base + low;
        if (inside && low < high) {
          fetch(from, address, high - low, row);
        }
        spread(row, kWord + address % kWord - low, inside, block, x, points, n, lines, line,
               is_signed, zeros, tile);
        line += lines * block.c_lines;
      }
      x += block.run * block.x_bytes;
      x_line += block.run * block.x_lines;
    }
    base += block.y_bytes;
    row_line += block.y_lines;
  }
}

// A block of an on-chip tensor, whose memory is read in place.
template <typename Tile>
inline void load_here(const word_t *from, const Block &block, bool is_signed, int zero, Tile tile) {
#pragma HLS INLINE
  addr_t base = block.base + block.y * block.y_bytes;
  int row_line = block.line;
  for (int iy = 0; iy < block.y_count; ++iy) {
    const bool inside = block.y + iy >= 0 && block.y + iy < block.y_size;
    spread(from, base, inside, block, block.x, block.x_count, 0, block.lines, row_line, is_signed,
           zero, tile);
    base += block.y_bytes;
    row_line += block.y_lines;
  }
}

inline DF_NOINLINE void load_source(const word_t *from, const Block block, bool is_signed, int zero,
                                    x_line_t x_tile[kPorts][kXLines]) {
#pragma HLS INLINE off
  load(from, block, is_signed, zero, x_tile);
}

inline DF_NOINLINE void load_source_here(const word_t *from, const Block block, bool is_signed,
                                         int zero, x_line_t x_tile[kPorts][kXLines]) {
#pragma HLS INLINE off
  load_here(from, block, is_signed, zero, x_tile);
}

inline DF_NOINLINE void load_second(const word_t *from, const Block block, bool is_signed, int zero,
                                    s_line_t s_tile[kSLines]) {
#pragma HLS INLINE off
  load(from, block, is_signed, zero, s_tile);
}

inline DF_NOINLINE void load_second_here(const word_t *from, const Block block, bool is_signed,
                                         int zero, s_line_t s_tile[kSLines]) {
#pragma HLS INLINE off
  load_here(from, block, is_signed, zero, s_tile);
}

// Second source of 32-bit words: `uses` words for each point, the k-th `use_bytes` behind the first.
inline DF_NOINLINE void load_words(const word_t *from, const Block block, int uses,
                                   addr_t use_bytes, int32_t s_words[kSWords]) {
#pragma HLS INLINE off
  word_t row[kRowWords];
#pragma HLS AGGREGATE variable=row compact=bit
#pragma HLS BIND_STORAGE variable=row type=ram_2p
  addr_t base = block.base + block.y * block.y_bytes + block.x;
  int row_line = block.line;
  for (int iy = 0; iy < block.y_count; ++iy) {
    for (int use = 0; use < uses; ++use) {
      addr_t address = base + use * use_bytes;
      int line = row_line + use;
      for (int ix = 0; ix < block.x_count; ix += block.run) {
        const int points = least(block.run, block.x_count - ix);
        fetch(from, address, (points - 1) * block.x_bytes + 4, row);
        addr_t position = kWord + address % kWord;
        for (int point = 0; point < points; ++point) {
#pragma HLS PIPELINE II=1
          s_words[line] = int32_of(bytes_at(row, position), 0);
          position += block.x_bytes;
          line += block.x_lines;
        }
        address += block.run * block.x_bytes;
      }
    }
    base += block.y_bytes;
    row_line += block.y_lines;
  }
}

// Output lines to a memory: `channels` of each point, kCols in a line.
inline DF_NOINLINE void store_block(const o_line_t o_tile[kOLines], const Block block, word_t *to) {
#pragma HLS INLINE off
  word_t row[kRowWords];
#pragma HLS AGGREGATE variable=row compact=bit
#pragma HLS BIND_STORAGE variable=row type=ram_2p
  addr_t base = block.base + block.y * block.y_bytes + block.x;
  int row_line = block.line;
  for (int iy = 0; iy < block.y_count; ++iy) {
    addr_t at = base;
    int x_line = row_line;
    for (int ix = 0; ix < block.x_count; ix += block.run) {
      const int points = least(block.run, block.x_count - ix);
      addr_t address = at;
      int first = x_line;
      for (int n = 0; n < block.lines; n += block.run_lines) {
        // With several points in a run their channels fill it without gaps.
        const int lines = least(block.run_lines, block.lines - n);
        const int depth = least(lines * kCols, block.channels - n * kCols);
        const int steps = points * lines;
        int filled = static_cast<int>(address % kWord);
        int index = 0, c_line = 0, left = depth, point_line = first, line = first;
        word_t hold = word_t();
#pragma HLS AGGREGATE variable=hold compact=bit
        for (int step = 0; step < steps; ++step) {
#pragma HLS PIPELINE II=1
          const int count = least(kCols, left);
          uint8_t codes[kCols];
#pragma HLS ARRAY_PARTITION variable=codes dim=1 type=complete
          for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS UNROLL
            codes[lane] = o_tile[line][lane];
          }
          word_t low;
#pragma HLS AGGREGATE variable=low compact=bit
          word_t high;
#pragma HLS AGGREGATE variable=high compact=bit
          for (int i = 0; i < kWord; ++i) {
#pragma HLS UNROLL
            const int over = i + kWord - filled;
            low.byte[i] = i < filled ? hold.byte[i] : codes[least(i - filled, kCols - 1)];
            high.byte[i] = over < kCols ? codes[over] : uint8_t(0);
          }
          row[index] = low;
          const bool full = filled + count >= kWord;
          hold = full ? high : low;
          index += full ? 1 : 0;
          filled += full ? count - kWord : count;
          left -= kCols;
          line += block.c_lines;
          if (++c_line == lines) {
            c_line = 0;
            left = depth;
            point_line += block.x_lines;
            line = point_line;
          }
        }
        row[index] = hold;
        flush(row, to, address, (points - 1) * block.x_bytes + depth);
        address += depth;
        first += lines * block.c_lines;
      }
      at += block.run * block.x_bytes;
      x_line += block.run * block.x_lines;
    }
    base += block.y_bytes;
    row_line += block.y_lines;
  }
}

// Per-channel parameters of column blocks: 32-bit words, zero behind the last channel.
template <typename Number>
inline void load_table(const word_t *from, addr_t address, int channels, int line,
                       Number (*tile)[kCols]) {
#pragma HLS INLINE
  word_t row[kRowWords];
#pragma HLS AGGREGATE variable=row compact=bit
#pragma HLS BIND_STORAGE variable=row type=ram_2p
  for (int c = 0; c < channels; c += kCols) {
    const int count = least(kCols, channels - c);
    fetch(from, address, 4 * count, row);
    // The image aligns its vectors: no number stands in two words.
    addr_t position = kWord + address % kWord;
    for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS PIPELINE II=1
      const int32_t number = int32_of(row[position / kWord], static_cast<int>(position % kWord));
      tile[line][lane] = lane < count ? static_cast<Number>(number) : Number(0);
      position += lane < count ? 4 : 0;
    }
    address += 4 * kCols;
    ++line;
  }
}

inline DF_NOINLINE void load_params(const word_t *from, addr_t address, int channels, int line,
                                    p_line_t p_tile[kPLines]) {
#pragma HLS INLINE off
  load_table(from, address, channels, line, p_tile);
}

// A tensor that stays on chip but enters from DRAM.
inline DF_NOINLINE void fill(const word_t *from, addr_t source, word_t *to, addr_t target,
                             addr_t bytes) {
#pragma HLS INLINE off
  word_t row[kRowWords];
#pragma HLS AGGREGATE variable=row compact=bit
#pragma HLS BIND_STORAGE variable=row type=ram_2p
  word_t moved[kRowWords];
#pragma HLS AGGREGATE variable=moved compact=bit
#pragma HLS BIND_STORAGE variable=moved type=ram_2p
  for (addr_t done = 0; done < bytes; done += kRowBytes) {
    const int count = bytes - done < kRowBytes ? static_cast<int>(bytes - done) : kRowBytes;
    fetch(from, source, count, row);
    const int head = static_cast<int>(target % kWord);
    const int words = (head + count + kWord - 1) / kWord;
    addr_t position = kWord + source % kWord - head;
    for (int i = 0; i < words; ++i) {
#pragma HLS PIPELINE II=1
      moved[i] = bytes_at(row, position);
      position += kWord;
    }
    flush(moved, to, target, count);
    source += kRowBytes;
    target += kRowBytes;
  }
}

}  // namespace df

#endif  // DF_MOVE_H_
