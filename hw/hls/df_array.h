// The spatial array: kRows x kCols multiply-accumulates a cycle into int32 accumulators.
//
// Weight-stationary: for each pass the weights of up to kRows reduction indices are held in
// registers while all output points of the tile stream by, one a cycle.
#ifndef DF_ARRAY_H_
#define DF_ARRAY_H_

#include "df_types.h"

namespace df {

// One tile. Two feed loops walk the output points; steps are in lines of the named buffer.
struct Feed {
  int outer_count, inner_count;  // output points
  int x_line;                    // first line of the source
  int x_outer, x_inner;          // from point to point (depthwise: from step to step)
  int taps_a, taps_b;            // kernel: ports' axis, inner axis
  int x_a, x_b;                  // from tap to tap
  int w_line;                    // first line of the weights
  int w_a, w_b;                  // from tap to tap (depthwise)
  int segment;                   // reduction indices of a tap
  int fed_taps;                  // taps of one pass
  int blocks;                    // column blocks
  int acc_line, acc_outer, acc_inner, acc_block;
  bool first;                    // the first pass overwrites the accumulators
  int fir_taps;                  // depthwise: taps along the inner axis in one pass
  int fir_stride;                // depthwise: feed steps from output point to output point
};

// Dense or block-diagonal operand: channels (and taps, while they fit) on rows, outputs on columns.
inline DF_NOINLINE void array_tile(const x_line_t x_tile[kPorts][kXLines],
                                   const w_line_t w_tile[kWLines], const Feed feed,
                                   acc_line_t acc[kAccLines]) {
#pragma HLS INLINE off
  const int taps = feed.taps_a * feed.taps_b;
  const int chunks = ceil_div(feed.segment, kRows);
  for (int block = 0; block < feed.blocks; ++block) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
    for (int tap = 0; tap < taps; tap += feed.fed_taps) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=9
      for (int chunk = 0; chunk < chunks; ++chunk) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
        const int fed = least(feed.fed_taps, taps - tap);
        const int depth = least(kRows, feed.segment - chunk * kRows);  // rows of one tap
        const int w_first =
            feed.w_line + (block * taps + tap) * feed.segment + chunk * kRows;
        const bool overwrite = feed.first && tap == 0 && chunk == 0;

        diff_t weight[kRows][kCols];
#pragma HLS ARRAY_PARTITION variable=weight dim=0 type=complete
        int port_of[kRows];
#pragma HLS ARRAY_PARTITION variable=port_of dim=1 type=complete
        int lane_of[kRows];
#pragma HLS ARRAY_PARTITION variable=lane_of dim=1 type=complete
        int port = 0;
        int lane = 0;
        for (int row = 0; row < kRows; ++row) {
#pragma HLS PIPELINE II=1
          const bool used = port < fed;
          port_of[row] = used ? port : 0;
          lane_of[row] = used ? lane : 0;
          for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
            weight[row][column] = used ? w_tile[w_first + row][column] : diff_t(0);
          }
          if (++lane == depth) {
            lane = 0;
            ++port;
          }
        }
        int x_first[kPorts];
#pragma HLS ARRAY_PARTITION variable=x_first dim=1 type=complete
        for (int i = 0; i < kPorts; ++i) {
#pragma HLS UNROLL
          const int t = i < fed ? tap + i : tap;
          x_first[i] = feed.x_line + (t / feed.taps_b) * feed.x_a + (t % feed.taps_b) * feed.x_b +
                       chunk;
        }

        for (int outer = 0; outer < feed.outer_count; ++outer) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
          for (int inner = 0; inner < feed.inner_count; ++inner) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
#pragma HLS PIPELINE II=1
#pragma HLS DEPENDENCE variable=acc type=inter dependent=false
            const int offset = outer * feed.x_outer + inner * feed.x_inner;
            diff_t operand[kRows];
#pragma HLS ARRAY_PARTITION variable=operand dim=1 type=complete
            for (int row = 0; row < kRows; ++row) {
#pragma HLS UNROLL
              const int source = port_of[row];
              operand[row] = x_tile[source][x_first[source] + offset][lane_of[row]];
            }
            const int line = feed.acc_line + block * feed.acc_block + outer * feed.acc_outer +
                             inner * feed.acc_inner;
            int32_t sum[kCols];
#pragma HLS ARRAY_PARTITION variable=sum dim=1 type=complete
            for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
              sum[column] = overwrite ? 0 : acc[line][column];
            }
            for (int row = 0; row < kRows; ++row) {
#pragma HLS UNROLL
              for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
                sum[column] += static_cast<int32_t>(operand[row]) * weight[row][column];
              }
            }
            for (int column = 0; column < kCols; ++column) {
#pragma HLS UNROLL
              acc[line][column] = sum[column];
            }
          }
        }
      }
    }
  }
}

// Depthwise: channels on columns, taps on rows. Each port reads a line a step into a shift register
// of kFir lines, whose taps are multiplied at once when the step is an output point's last.
inline DF_NOINLINE void depthwise_tile(const x_line_t x_tile[kPorts][kXLines],
                                       const w_line_t w_tile[kWLines], const Feed feed,
                                       acc_line_t acc[kAccLines]) {
#pragma HLS INLINE off
  const int taps = feed.taps_a * feed.taps_b;
  for (int block = 0; block < feed.blocks; ++block) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
    for (int a = 0; a < feed.taps_a; a += feed.fed_taps) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=3
      for (int b = 0; b < feed.taps_b; b += feed.fir_taps) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=3
        const int fed = least(feed.fed_taps, feed.taps_a - a);
        const int depth = least(feed.fir_taps, feed.taps_b - b);
        const bool overwrite = feed.first && a == 0 && b == 0;
        const int steps = (feed.inner_count - 1) * feed.fir_stride + depth;

        diff_t weight[kPorts][kFir][kCols];
#pragma HLS ARRAY_PARTITION variable=weight dim=0 type=complete
        diff_t window[kPorts][kFir][kCols];
#pragma HLS ARRAY_PARTITION variable=window dim=0 type=complete
        for (int port = 0; port < kPorts; ++port) {
          for (int slot = 0; slot < kFir; ++slot) {
#pragma HLS PIPELINE II=1
            // The newest line stands in the last slot, so the used taps stand at the end.
            const int tap = slot - (kFir - depth);
            const bool used = port < fed && tap >= 0;
            const int line = feed.w_line + block * taps + (a + port) * feed.w_a + (b + tap) * feed.w_b;
            for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS UNROLL
              weight[port][slot][lane] = used ? w_tile[line][lane] : diff_t(0);
              window[port][slot][lane] = 0;
            }
          }
        }

        for (int outer = 0; outer < feed.outer_count; ++outer) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
          int inner = 0;
          int wait = depth - 1;  // steps until the next output point is complete
          for (int step = 0; step < steps; ++step) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=64
#pragma HLS PIPELINE II=1
#pragma HLS DEPENDENCE variable=acc type=inter dependent=false
            for (int port = 0; port < kPorts; ++port) {
#pragma HLS UNROLL
              const int row = port < fed ? a + port : a;
              const int line = feed.x_line + block + outer * feed.x_outer + row * feed.x_a +
                               b * feed.x_b + step * feed.x_inner;
              for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS UNROLL
                for (int slot = 0; slot + 1 < kFir; ++slot) {
#pragma HLS UNROLL
                  window[port][slot][lane] = window[port][slot + 1][lane];
                }
                window[port][kFir - 1][lane] = x_tile[port][line][lane];
              }
            }
            if (wait == 0) {
              const int line = feed.acc_line + block * feed.acc_block + outer * feed.acc_outer +
                               inner * feed.acc_inner;
              for (int lane = 0; lane < kCols; ++lane) {
#pragma HLS UNROLL
                int32_t sum = overwrite ? 0 : acc[line][lane];
                for (int port = 0; port < kPorts; ++port) {
#pragma HLS UNROLL
                  for (int slot = 0; slot < kFir; ++slot) {
#pragma HLS UNROLL
                    sum += static_cast<int32_t>(window[port][slot][lane]) * weight[port][slot][lane];
                  }
                }
                acc[line][lane] = sum;
              }
              ++inner;
              wait = feed.fir_stride;
            }
            --wait;
          }
        }
      }
    }
  }
}

}  // namespace df

#endif  // DF_ARRAY_H_
