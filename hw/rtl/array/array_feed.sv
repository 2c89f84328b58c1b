// Streams the output points of each pass: feed reads, operand lines, launch and accumulation.
//
// Issue of a step in cycle s: feed reads go out; operands enter the array in cycle s + 3;
// `swap` enters one cycle earlier than the first step's operands. The sum of a point launched in
// cycle t leaves the array Rows cycles later and is added to its accumulator line in that cycle.
// Passes follow each other without a gap when the next one's weights are ready; a FIR pass whose
// ports stand further apart or closer than those of the FIR pass before waits until the array is
// empty, because the ports' delays change then.

module array_feed
  import df_pkg::*;
  import array_pkg::*;
#(
  localparam int unsigned AccAddrW = $clog2(AccLines)
) (
  input  logic               clk_i,
  input  logic               rst_ni,

  input  logic               valid_i,
  input  feed_t              pass_i,
  output logic               take_o,
  input  logic               weights_ready_i,
  output logic               start_o,
  output logic               swapped_o,

  output logic [FeedPorts-1:0]               feed_valid_o,
  output logic [FeedPorts-1:0][23:0]         feed_addr_o,
  input  logic [FeedPorts-1:0][LineBits-1:0] feed_data_i,

  input  logic               row_we_i,
  input  logic               col_we_i,
  input  logic [7:0]         w_index_i,
  input  logic signed [8:0]  w_line_i [LineBytes],

  output logic               acc_rd_o,
  output logic               acc_rd_half_o,
  output logic [AccAddrW-1:0] acc_rd_addr_o,
  input  logic [Cols*32-1:0] acc_data_i,
  output logic               acc_we_o,
  output logic               acc_wr_half_o,
  output logic [AccAddrW-1:0] acc_wr_addr_o,
  output logic [Cols*32-1:0] acc_wr_data_o,

  output logic               tile_released_o,
  output logic               block_done_o,
  output logic               instr_done_o,
  output logic [15:0]        done_layer_o,
  output logic               busy_o,        // a step is issued
  output macs_t              macs_o,        // MACs launched in this cycle
  output logic               idle_o
);

  // Step loops of the pass in progress.
  feed_t       pass_q;
  logic        running_q;
  logic [15:0] p_q, q_q;      // outer point, inner step
  logic [7:0]  phase_q;       // FIR: steps since the last launch
  logic [15:0] launched_q;    // FIR: launches in this row
  step_t       row_q, pos_q;  // cursor at the row start, and now
  acc_line_t   line_q;        // accumulator line of the next launch

  // The last launch of a FIR row is followed by one step for each tap but the first.
  lane_t      tail_q;         // FIR: steps since the last launch of the row

  // What the counters say of this step, in registers: whether a row or the pass ends decides much.
  logic last_point_q;   // q_q + 1 == q_count
  logic last_row_q;     // p_q + 1 == p_count
  logic last_launch_q;  // launched_q + 1 == q_count
  logic launched_all_q; // launched_q == q_count
  logic last_tail_q;    // tail_q + 1 == fir_taps
  logic one_point_q;    // q_count == 1
  logic no_point_q;     // q_count == 0, of a corrupt program
  logic one_tap_q;      // fir_taps == 1

  logic row_ends, pass_ends, launch;
  assign row_ends  = !pass_q.fir ? last_point_q
                     : launched_all_q ? last_tail_q : launch && last_launch_q && one_tap_q;
  assign pass_ends = running_q && row_ends && last_row_q;
  assign launch    = running_q && (!pass_q.fir || (phase_q == '0 && !launched_all_q));

  logic       start, quiet;
  lane_t      fir_rows_q;  // of the last FIR pass, 0: there was none
  assign start   = valid_i && weights_ready_i && (!running_q || pass_ends)
                   && (!pass_i.fir || fir_rows_q == '0 || pass_i.fir_rows == fir_rows_q || quiet);
  assign take_o  = start;
  assign start_o = start;
  assign busy_o  = running_q;

  // The first step issues in the cycle after `start`: the registers below are loaded by it.
  logic first_step_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q    <= 1'b0;
      first_step_q <= 1'b0;
      fir_rows_q   <= '0;
    end else begin
      first_step_q <= start;
      if (start && pass_i.fir) fir_rows_q <= pass_i.fir_rows;
      if (start) begin
        running_q <= 1'b1;
      end else if (pass_ends) begin
        running_q <= 1'b0;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (start) begin
      pass_q     <= pass_i;
      p_q        <= '0;
      q_q        <= '0;
      phase_q    <= '0;
      launched_q <= '0;
      row_q      <= '0;
      pos_q      <= '0;
      line_q     <= pass_i.acc_line;
      last_point_q   <= pass_i.q_count == 16'd1;
      last_row_q     <= pass_i.p_count == 16'd1;
      last_launch_q  <= pass_i.q_count == 16'd1;
      launched_all_q <= pass_i.q_count == '0;
      no_point_q     <= pass_i.q_count == '0;
      one_point_q    <= pass_i.q_count == 16'd1;
      one_tap_q      <= pass_i.fir_taps == lane_t'(1);
    end else if (running_q) begin
      if (launch) begin
        line_q         <= line_q + 1'b1;
        launched_q     <= launched_q + 16'd1;
        last_launch_q  <= launched_q + 16'd2 == pass_q.q_count;
        launched_all_q <= last_launch_q;
      end
      phase_q <= phase_q + 8'd1 == pass_q.fir_stride ? '0 : phase_q + 8'd1;
      tail_q  <= launch ? lane_t'(1) : tail_q + 1'b1;
      last_tail_q <= launch ? pass_q.fir_taps == lane_t'(2)
                            : lane_t'(tail_q + lane_t'(2)) == pass_q.fir_taps;
      last_point_q <= q_q + 16'd2 == pass_q.q_count;
      if (row_ends) begin
        q_q            <= '0;
        p_q            <= p_q + 16'd1;
        phase_q        <= '0;
        launched_q     <= '0;
        last_point_q   <= one_point_q;
        last_row_q     <= p_q + 16'd2 == pass_q.p_count;
        last_launch_q  <= one_point_q;
        launched_all_q <= no_point_q;
        row_q.addr <= row_q.addr + pass_q.p_step.addr;
        row_q.y    <= row_q.y + pass_q.p_step.y;
        row_q.x    <= row_q.x + pass_q.p_step.x;
        pos_q.addr <= row_q.addr + pass_q.p_step.addr;
        pos_q.y    <= row_q.y + pass_q.p_step.y;
        pos_q.x    <= row_q.x + pass_q.p_step.x;
      end else begin
        q_q        <= q_q + 16'd1;
        pos_q.addr <= pos_q.addr + pass_q.q_step.addr;
        pos_q.y    <= pos_q.y + pass_q.q_step.y;
        pos_q.x    <= pos_q.x + pass_q.q_step.x;
      end
    end
  end

  // Stage 0: addresses and coordinates.
  logic signed [31:0] x0 [FeedPorts];
  logic               row_ok0 [FeedPorts];
  always_comb begin
    for (int unsigned p = 0; p < FeedPorts; p++) begin
      automatic logic signed [23:0] y = pass_q.port[p].y + pos_q.y;
      feed_valid_o[p] = running_q && pass_q.used[p];
      feed_addr_o[p]  = pass_q.port[p].addr + pos_q.addr;
      x0[p]           = pass_q.port[p].x + 32'(pos_q.x);
      row_ok0[p]      = y >= 0 && $unsigned(y) < pass_q.y_size;
    end
  end

  // What stages 1 and 2 need of the pass: it changes only with `start`, a cycle before stage 0.
  typedef struct packed {
    lane_t [FeedPorts-1:0]      lane_end;
    logic                       fir;
    logic [FeedPorts-1:0]       used;
    lane_t                      fir_taps;
    lane_t                      fir_rows;
    logic signed [8:0]          x_zero;
    logic                       x_signed;
    logic [7:0]                 macs_columns;
  } lanes_t;

  typedef struct packed {
    logic      launch;
    acc_line_t line;
    logic      half;
    logic      first;
    logic      last;
  } point_t;

  lanes_t lanes0, lanes1_q, lanes2_q;
  assign lanes0 = '{
    lane_end: pass_q.lane_end, fir: pass_q.fir, used: pass_q.used, fir_taps: pass_q.fir_taps,
    fir_rows: pass_q.fir_rows,
    x_zero: pass_q.x_zero, x_signed: pass_q.x_signed,
    macs_columns: pass_q.macs_columns
  };

  // In FIR mode the last launch of a pass comes before its last step.
  logic pass_last_launch;
  assign pass_last_launch = last_row_q && (pass_q.fir ? last_launch_q : row_ends);

  point_t point0, point1_q, point2_q, point3_q;
  assign point0 = '{
    launch: launch, line: line_q, half: pass_q.acc_half, first: pass_q.acc_first,
    last: pass_q.acc_last && pass_last_launch
  };

  logic               valid1_q, valid2_q, valid3_q, first1_q, first2_q;
  // A number of lanes, or a larger one for all of them.
  localparam int unsigned LaneW = $clog2((Rows > Cols ? Rows : Cols) + 1);

  logic signed [31:0] x1_q [FeedPorts];
  logic [31:0]        x_size1_q;
  logic               row_ok1_q [FeedPorts];
  // The lanes of a port that lie inside the tensor: from from2_q on, below end2_q; none where the
  // row lies outside.
  logic [LaneW-1:0]   from2_q [FeedPorts], end2_q [FeedPorts];
  logic signed [8:0]  flat3_q [Rows];
  logic signed [8:0]  line3_q [FeedPorts][Cols];
  macs_t              macs3_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid1_q <= 1'b0;
      valid2_q <= 1'b0;
      valid3_q <= 1'b0;
      first1_q <= 1'b0;
      first2_q <= 1'b0;
    end else begin
      valid1_q <= running_q;
      valid2_q <= valid1_q;
      valid3_q <= valid2_q;
      first1_q <= first_step_q;
      first2_q <= first1_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (running_q) begin
      lanes1_q  <= lanes0;
      x_size1_q <= pass_q.x_size;
      for (int unsigned p = 0; p < FeedPorts; p++) begin
        x1_q[p]      <= x0[p];
        row_ok1_q[p] <= row_ok0[p];
      end
    end
    point1_q <= running_q ? point0 : '0;
    if (valid1_q) begin
      lanes2_q  <= lanes1_q;
      for (int unsigned p = 0; p < FeedPorts; p++) begin
        from2_q[p] <= lanes_outside(x1_q[p]);
        end2_q[p]  <= row_ok1_q[p]
                      ? lanes_below(signed'({1'b0, x_size1_q}) - 33'(x1_q[p])) : '0;
      end
    end
    point2_q <= point1_q;
    point3_q <= point2_q;
  end

  // Lanes whose number is below a coordinate.
  function automatic logic [LaneW-1:0] lanes_below(input logic signed [32:0] x);
    return x[32] ? '0 : x[31:LaneW] != '0 ? '1 : x[LaneW-1:0];
  endfunction

  // Lanes whose coordinate is negative, that of lane 0 being x.
  function automatic logic [LaneW-1:0] lanes_outside(input logic signed [31:0] x);
    return !x[31] ? '0
           : x[30:LaneW] != '1 || x[LaneW-1:0] == '0 ? '1 : -x[LaneW-1:0];
  endfunction

  // Stage 2: differences, padding, lanes.
  logic [FeedPorts-1:0][LineBytes-1:0][8:0] difference;
  logic [FeedPorts-1:0][LineBytes-1:0]      in_tensor;

  always_comb begin
    for (int unsigned p = 0; p < FeedPorts; p++) begin
      for (int unsigned l = 0; l < LineBytes; l++) begin
        difference[p][l] = {lanes2_q.x_signed && feed_data_i[p][l*8+7], feed_data_i[p][l*8 +: 8]}
                           - lanes2_q.x_zero;
        in_tensor[p][l] = LaneW'(l) >= from2_q[p] && LaneW'(l) < end2_q[p];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid2_q) begin
      macs3_q <= macs_t'(times(TimesW'(lanes2_q.macs_columns),
                           TimesW'(lanes2_q.lane_end[FeedPorts-1])));
      if (lanes2_q.fir) begin
        for (int unsigned p = 0; p < FeedPorts; p++) begin
          for (int unsigned c = 0; c < Cols; c++) begin
            line3_q[p][c] <= in_tensor[p][c] ? difference[p][c] : 9'sd0;
          end
        end
      end
      for (int unsigned r = 0; r < Rows; r++) begin
        automatic logic [1:0] p = lane_t'(r) < lanes2_q.lane_end[0] ? 2'd0
                                  : lane_t'(r) < lanes2_q.lane_end[1] ? 2'd1 : 2'd2;
        flat3_q[r] <= !lanes2_q.fir && lane_t'(r) < lanes2_q.lane_end[FeedPorts-1]
                      && in_tensor[p][r] ? difference[p][r] : 9'sd0;
      end
    end
  end

  // FIR rows: row j * fir_rows + s belongs to tap s of port j.
  localparam int unsigned FromW = $bits(lane_t) + 2;
  logic [Rows-1:0][FeedPorts-1:0] row_port;
  always_comb begin
    for (int unsigned r = 0; r < Rows; r++) begin
      for (int unsigned p = 0; p < FeedPorts; p++) begin
        automatic logic [FromW-1:0] from = FromW'(lanes2_q.fir_rows) * FromW'(p);
        row_port[r][p] = lanes2_q.fir && lanes2_q.used[p] && FromW'(r) >= from
                         && FromW'(r) < from + FromW'(lanes2_q.fir_taps);
      end
    end
  end

  // The array steps while anything is under way in it.
  localparam int unsigned Flight = Rows + 2;
  localparam int unsigned FlightW = $clog2(Flight + 1);
  logic [FlightW-1:0] flight_q;
  logic               step;
  assign step = valid3_q || first2_q || flight_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      flight_q <= '0;
    end else if (valid3_q || first2_q) begin
      flight_q <= FlightW'(Flight);
    end else if (flight_q != '0) begin
      flight_q <= flight_q - 1'b1;
    end
  end

  logic signed [31:0] psum [Cols];

  pe_array u_array (
    .clk_i,
    .rst_ni,
    .step_i     (step),
    .flat_i     (flat3_q),
    .line_i     (line3_q),
    .swap_i     (first2_q),
    .fir_i      (lanes2_q.fir),
    .fir_rows_i (8'(lanes2_q.fir_rows)),
    .row_port_i (row_port),
    .w_row_we_i (row_we_i),
    .w_col_we_i (col_we_i),
    .w_index_i,
    .w_line_i,
    .psum_o     (psum)
  );
  assign swapped_o = first2_q;
  assign macs_o    = point3_q.launch ? macs3_q : '0;

  // Points travel with their sums.
  localparam int unsigned Depth  = 2 ** $clog2(Rows + 1);
  localparam int unsigned DepthW = $clog2(Depth);
  point_t            flight_point_q [Depth];
  logic [DepthW-1:0] now_q;
  point_t            reading, writing;

  assign reading = flight_point_q[DepthW'(now_q - DepthW'(Rows - 1))];
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      now_q   <= '0;
      writing <= '0;
      for (int unsigned i = 0; i < Depth; i++) flight_point_q[i] <= '0;
    end else if (step) begin
      now_q                 <= now_q + 1'b1;
      flight_point_q[now_q] <= point3_q;
      writing               <= reading;
    end
  end

  assign acc_rd_o      = step && reading.launch && !reading.first;
  assign acc_rd_half_o = reading.half;
  assign acc_rd_addr_o = reading.line;
  assign acc_we_o      = step && writing.launch;
  assign acc_wr_half_o = writing.half;
  assign acc_wr_addr_o = writing.line;
  for (genvar c = 0; c < Cols; c++) begin : gen_sum
    assign acc_wr_data_o[c*32 +: 32] = psum[c] + (writing.first ? '0 : acc_data_i[c*32 +: 32]);
  end

  logic unused;
  assign unused = ^pass_q.acc_line;  // went into line_q

  // Events. A tile is released when its last read has been issued; the block is done when its last
  // sum is written.
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      tile_released_o <= 1'b0;
      instr_done_o    <= 1'b0;
      block_done_o    <= 1'b0;
    end else begin
      tile_released_o <= pass_ends && pass_q.tile_release;
      instr_done_o    <= pass_ends && pass_q.instr_last;
      block_done_o    <= acc_we_o && writing.last;
    end
  end
  always_ff @(posedge clk_i) begin
    if (pass_ends) done_layer_o <= pass_q.layer;
  end

  assign quiet  = !running_q && !step && !valid1_q && !valid2_q;
  assign idle_o = quiet && !valid_i;

`ifndef SYNTHESIS
  ends: assert property (@(posedge clk_i) disable iff (!rst_ni)
    running_q |-> last_point_q == (q_q + 16'd1 == pass_q.q_count)
                  && last_row_q == (p_q + 16'd1 == pass_q.p_count)
                  && last_launch_q == (launched_q + 16'd1 == pass_q.q_count)
                  && launched_all_q == (launched_q == pass_q.q_count))
    else $error("array_feed: the end of a row or of the pass is not where its counters are");
`endif

endmodule
