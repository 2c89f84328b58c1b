// The spatial array: kRows x kCols multiply-accumulates a cycle into int32 accumulators.
//
// Weight-stationary: for each pass the weights of up to kRows reduction indices are held in
// registers while all output points of the tile stream by, one a cycle. One function for every
// layer: all modes use the same multipliers.
#ifndef DF_ARRAY_H_
#define DF_ARRAY_H_

#include "df_types.h"

namespace df {

// One tile. Two feed loops walk the output points; steps are in lines of the named buffer.
//
// Dense or block-diagonal operand: channels (and taps, while they fit) on rows, outputs on columns; a
// pass takes `fed_taps` taps, or kRows channels of one tap.
// Depthwise: channels on columns, taps on rows. Each port feeds a line a step into a chain of
// `fir_taps` rows; the chains are multiplied when the step is an output point's last.
struct Feed {
  bool depthwise;
  int outer_count, inner_count;  // output points
  int x_line;                    // first line of the source
  int x_outer, x_inner;          // from point to point (depthwise: from step to step)
  int taps_a, taps_b;            // kernel: ports' axis, inner axis
  int x_a, x_b;                  // from tap to tap
  int w_line;                    // first line of the weights
  int w_a, w_b;                  // from tap to tap (depthwise)
  int segment;                   // reduction indices of a tap
  int fed_taps;                  // taps of one pass, each on a port of its own
  int blocks;                    // column blocks
  int acc_line, acc_outer, acc_inner, acc_block;
  bool first;                    // the first pass overwrites the accumulators
  int fir_taps;                  // depthwise: taps along the inner axis in one pass
  int fir_stride;                // depthwise: feed steps from output point to output point
};

// What a pass holds while the points stream by; `x_first` is each port's line of the first step.
struct Pass {
  int depth;           // rows of a port
  int w_line;          // line of row 0
  int w_row, w_port;   // from row to row of a port; from port to port
  int fed;             // ports used
  int acc_line;
  bool overwrite;
};

inline void run_pass(const x_line_t x_tile[kPorts][kXLines], const w_line_t w_tile[kWLines],
                     const Feed &feed, const Pass &pass, const int x_first[kPorts],
                     acc_line_t acc[kAccLines]) {
#pragma HLS INLINE
  diff_t weight[kRows][kCols];
#pragma HLS ARRAY_PARTITION variable=weight dim=0 type=complete
  int port_of[kRows];
#pragma HLS ARRAY_PARTITION variable=port_of dim=1 type=complete
  int lane_of[kRows];
#pragma HLS ARRAY_PARTITION variable=lane_of dim=1 type=complete
  int port = 0, lane = 0, line = pass.w_line, port_line = pass.w_line;
  for (int row = 0; row < kRows; ++row) {
#pragma HLS PIPELINE II=1
    const bool used = port < pass.fed;
    port_of[row] = used ? port : 0;
    lane_of[row] = used ? lane : 0;
    for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
      weight[row][column] = used ? w_tile[line][column] : diff_t(0);
    }
    line += pass.w_row;
    if (++lane == pass.depth) {
      lane = 0;
      ++port;
      port_line += pass.w_port;
      line = port_line;
    }
  }

  diff_t chain[kRows][kCols];  // depthwise: the line that a row's port read `lane_of` steps ago
#pragma HLS ARRAY_PARTITION variable=chain dim=0 type=complete
  for (int row = 0; row < kRows; ++row) {
#pragma HLS UNROLL
    for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
      chain[row][column] = 0;
    }
  }
  const int fill = feed.depthwise ? pass.depth - 1 : 0;  // steps before a row's first point
  const int gap = feed.depthwise ? feed.fir_stride - 1 : 0;  // between two points
  const int steps = (feed.inner_count - 1) * (gap + 1) + 1 + fill;
  const int total = feed.outer_count * steps;
  int step = 0, wait = fill;
  int x_row = 0, x_at = 0;
  int acc_row = pass.acc_line, acc_at = pass.acc_line;
  for (int i = 0; i < total; ++i) {
#pragma HLS PIPELINE II=1
#pragma HLS DEPENDENCE variable=acc type=inter dependent=false
    // Each port by a constant index, then a selection among registers.
    diff_t fed[kPorts][kLine];
#pragma HLS ARRAY_PARTITION variable=fed dim=0 type=complete
    for (int p = 0; p < kPorts; ++p) {
#pragma HLS UNROLL
      for (int l = 0; l < kLine; ++l) {
#pragma HLS UNROLL
        fed[p][l] = x_tile[p][x_first[p] + x_at][l];
      }
    }
    int32_t sum[kCols];
#pragma HLS ARRAY_PARTITION variable=sum dim=1 type=complete
    for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
      sum[column] = pass.overwrite ? 0 : acc[acc_at][column];
    }
    for (int row = kRows - 1; row >= 0; --row) {
#pragma HLS UNROLL
      const diff_t shared = fed[port_of[row]][lane_of[row]];
      for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
        const diff_t above = chain[row == 0 ? 0 : row - 1][column];
        chain[row][column] = lane_of[row] == 0 ? fed[port_of[row]][column] : above;
        const diff_t operand = feed.depthwise ? chain[row][column] : shared;
        sum[column] += static_cast<int32_t>(operand) * weight[row][column];
      }
    }
    if (wait == 0) {
      for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
        acc[acc_at][column] = sum[column];
      }
      acc_at += feed.acc_inner;
    }
    wait = wait == 0 ? gap : wait - 1;
    x_at += feed.x_inner;
    if (++step == steps) {
      step = 0;
      wait = fill;
      x_row += feed.x_outer;
      x_at = x_row;
      acc_row += feed.acc_outer;
      acc_at = acc_row;
    }
  }
}

inline DF_NOINLINE void array_tile(const x_line_t x_tile[kPorts][kXLines],
                                   const w_line_t w_tile[kWLines], const Feed feed,
                                   acc_line_t acc[kAccLines]) {
#pragma HLS INLINE off
  const int taps = feed.taps_a * feed.taps_b;
  // Dense passes step over (taps, channels of a tap), depthwise ones over the kernel's two axes.
  const int outer = feed.depthwise ? feed.taps_a : taps;
  const int inner = feed.depthwise ? feed.taps_b : feed.segment;
  const int inner_step = feed.depthwise ? feed.fir_taps : kRows;
  const int x_inner = feed.depthwise ? feed.fir_taps * feed.x_b : 1;
  int block_x = feed.x_line;
  int block_w = feed.w_line;
  Pass pass;
  pass.acc_line = feed.acc_line;
  pass.w_port = feed.depthwise ? feed.w_a : 0;
  for (int block = 0; block < feed.blocks; ++block) {
    int tap_a = 0, tap_b = 0;  // of the pass's first port
    int tap_w = block_w;
    for (int u = 0; u < outer; u += feed.fed_taps) {
      pass.fed = least(feed.fed_taps, outer - u);
      int first[kPorts];
#pragma HLS ARRAY_PARTITION variable=first dim=1 type=complete
      const int again = block_x + tap_a * feed.x_a + tap_b * feed.x_b;
      int at = again, port_b = tap_b;
      for (int p = 0; p < kPorts; ++p) {
#pragma HLS UNROLL
        first[p] = p < pass.fed ? at : again;
        const bool wraps = feed.depthwise || port_b + 1 == feed.taps_b;
        at += wraps ? feed.x_a - port_b * feed.x_b : feed.x_b;
        port_b = wraps ? 0 : port_b + 1;
        tap_a += p < pass.fed && wraps ? 1 : 0;
        tap_b = p < pass.fed ? port_b : tap_b;
      }
      int inner_w = tap_w;
      for (int v = 0; v < inner; v += inner_step) {
        pass.depth = least(inner_step, inner - v);
        pass.overwrite = feed.first && u == 0 && v == 0;
        if (feed.depthwise) {
          // A port's first row holds its newest line, so the last tap stands there.
          pass.w_line = inner_w + (pass.depth - 1) * feed.w_b;
          pass.w_row = -feed.w_b;
          inner_w += feed.fir_taps * feed.w_b;
        } else {
          pass.w_line = inner_w;
          pass.w_row = 1;
          pass.w_port = pass.depth;
          inner_w += kRows;
        }
        run_pass(x_tile, w_tile, feed, pass, first, acc);
        for (int p = 0; p < kPorts; ++p) {
#pragma HLS UNROLL
          first[p] += x_inner;
        }
      }
      tap_w += feed.fed_taps * (feed.depthwise ? feed.w_a : feed.segment);
    }
    block_x += feed.depthwise ? 1 : 0;
    block_w += taps * (feed.depthwise ? 1 : feed.segment);
    pass.acc_line += feed.acc_block;
  }
}

}  // namespace df

#endif  // DF_ARRAY_H_
