// Words of a memory (DRAM behind an AXI master, or the on-chip tensors) and the bytes in them.
//
// A memory is read and written by whole words, in order and without conditions, so that a tool makes
// bursts of them. Between a memory and the buffers of lines stands a row of words: `fetch` fills it,
// `bytes_at` takes any kWord consecutive bytes out of it, `flush` writes it back.
#ifndef DF_MEMORY_H_
#define DF_MEMORY_H_

#include "df_types.h"

namespace df {

// A row: kRowBytes at any alignment behind a guard word, so that bytes in front of the first one may
// be read (and are not used), and a word behind the last one.
const int kRowWords = kRowBytes / kWord + 3;

// Bytes [address, address + bytes) into a row, whose byte kWord + address % kWord is the first.
inline void fetch(const word_t *from, addr_t address, int bytes, word_t row[kRowWords]) {
#pragma HLS INLINE
  const addr_t first = address / kWord;
  const int words = static_cast<int>((address % kWord + bytes + kWord - 1) / kWord);
  for (int i = 0; i < words; ++i) {
#pragma HLS PIPELINE II=1
    row[i + 1] = from[first + i];
  }
}

// The kWord bytes from any position.
inline word_t bytes_at(const word_t *words, addr_t position) {
#pragma HLS INLINE
  const int first = static_cast<int>(position / kWord);
  const int shift = static_cast<int>(position % kWord);
  const word_t low = words[first];
#pragma HLS AGGREGATE variable=low compact=bit
  const word_t high = words[first + 1];
#pragma HLS AGGREGATE variable=high compact=bit
  word_t result;
#pragma HLS AGGREGATE variable=result compact=bit
  for (int i = 0; i < kWord; ++i) {
#pragma HLS UNROLL
    result.byte[i] = i + shift < kWord ? low.byte[i + shift] : high.byte[i + shift - kWord];
  }
  return result;
}

// The 32-bit word, low byte first, at byte `first` of a word.
inline int32_t int32_of(const word_t &word, int first) {
#pragma HLS INLINE
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) {
#pragma HLS UNROLL
    bits |= static_cast<uint32_t>(word.byte[first + i]) << (8 * i);
  }
  return static_cast<int32_t>(bits);
}

// `bytes` of a row, the first at byte address % kWord, to a memory. Other bytes of the first and of
// the last word stay what they are.
inline void flush(word_t row[kRowWords], word_t *to, addr_t address, int bytes) {
#pragma HLS INLINE
  const addr_t first = address / kWord;
  const int head = static_cast<int>(address % kWord);
  const int words = (head + bytes + kWord - 1) / kWord;
  const int tail = (head + bytes) % kWord;
  if (head != 0) {
    const word_t before = to[first];
#pragma HLS AGGREGATE variable=before compact=bit
    for (int i = 0; i < kWord; ++i) {
#pragma HLS UNROLL
      if (i < head) row[0].byte[i] = before.byte[i];
    }
  }
  if (tail != 0) {
    const word_t behind = to[first + words - 1];
#pragma HLS AGGREGATE variable=behind compact=bit
    for (int i = 0; i < kWord; ++i) {
#pragma HLS UNROLL
      if (i >= tail) row[words - 1].byte[i] = behind.byte[i];
    }
  }
  for (int i = 0; i < words; ++i) {
#pragma HLS PIPELINE II=1
    to[first + i] = row[i];
  }
}

}  // namespace df

#endif  // DF_MEMORY_H_
