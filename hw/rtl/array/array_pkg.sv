// What the sequencer hands to the weight loader and to the feed for each pass.

package array_pkg;
  import df_pkg::*;

  typedef logic [$clog2(Rows+1)-1:0]   lane_t;      // a number of rows
  typedef logic [$clog2(Rows*Cols+1)-1:0] macs_t;   // a number of PEs
  typedef logic [$clog2(AccLines)-1:0] acc_line_t;

  typedef struct packed {
    logic [23:0]        addr;  // feed address of lane 0 at the tile's first point
    logic signed [23:0] y;
    logic signed [31:0] x;     // byte coordinate of lane 0
  } port_t;

  typedef struct packed {
    port_t [FeedPorts-1:0]    port;
    logic [FeedPorts-1:0]     used;
    lane_t [FeedPorts-1:0]    lane_end;  // first lane behind each port's lanes
    logic                     fir;
    lane_t                    fir_taps;    // FIR: taps of each port
    lane_t                    fir_rows;    // FIR: rows from port to port, at least fir_taps
    logic [7:0]               fir_stride;
    logic [7:0]               macs_columns;
    logic [15:0]              p_count;
    logic [15:0]              q_count;
    step_t                    p_step;
    step_t                    q_step;
    logic [23:0]              y_size;
    logic [31:0]              x_size;
    logic signed [8:0]        x_zero;
    logic                     x_signed;
    acc_line_t                acc_line;
    logic                     acc_half;
    logic                     acc_first;   // overwrite
    logic                     acc_last;    // the block is complete behind this pass
    logic                     tile_release;
    logic                     instr_last;
    logic [15:0]              layer;
  } feed_t;

  typedef struct packed {
    logic [1:0]        source;
    logic [7:0]        lines;      // weight rows (source 2: columns)
    logic [7:0]        run;        // lines on consecutive rows; then `gap` rows are left out
    logic [7:0]        gap;
    logic              zero_line;
    logic signed [8:0] zero;
    logic              is_signed;
    logic [23:0]       pointer;    // weight ring: absolute line number of the first line
    logic [23:0]       behind;     // and behind the last one
    logic              free;       // the ring is free up to the end of this pass
    logic [23:0]       addr;       // activation source
    logic [23:0]       stride;
    logic              release_second;
  } load_weights_t;

  // A product of shifted sums: it only counts, and a multiplier is a PE's.
  localparam int unsigned TimesW = $clog2(AccLines) > 8 ? $clog2(AccLines) : 8;

  function automatic logic [2*TimesW-1:0] times(
    input logic [TimesW-1:0] a, input logic [TimesW-1:0] b
  );
    times = '0;
    for (int unsigned i = 0; i < TimesW; i++) begin
      if (b[i]) times = times + ((2*TimesW)'(a) << i);
    end
  endfunction

endpackage
