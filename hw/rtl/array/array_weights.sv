// Loads the shadow weights of the next pass, from the weight ring or from activation memory.
//
// Ring: starts when the shadow is free and all lines of the pass are in the ring; then one line a
// cycle (after a line of zero points, if any). ready_o rises after the first row's read is issued:
// the wavefront reaches row r not before row r is written. Activation source: ready_o rises after
// the last line has arrived, as its reads may be refused. The pass behind one from the ring is
// taken with that one's last line: a ring that fills at a line a cycle is read at a line a cycle.
//
// Lines go to consecutive rows. In a FIR pass the rows of a port begin at a multiple of fir_rows,
// so rows may be left out between its lines and the next port's.

module array_weights
  import df_pkg::*;
  import array_pkg::*;
(
  input  logic               clk_i,
  input  logic               rst_ni,

  input  logic               valid_i,
  input  load_weights_t      pass_i,
  output logic               take_o,

  input  logic               start_i,      // the feed starts the pass whose weights are ready
  input  logic               swapped_i,    // row 0 took its shadow weights
  output logic               ready_o,

  input  logic [23:0]        written_i,    // lines of the ring written so far
  output logic [23:0]        freed_o,
  output logic               ring_rd_o,
  output logic [23:0]        ring_addr_o,  // line number modulo WbufLines
  input  logic [LineBits-1:0] ring_data_i, // one cycle later

  output logic               act_valid_o,
  output logic [23:0]        act_addr_o,
  input  logic               act_ready_i,
  input  logic [LineBits-1:0] act_data_i,  // two cycles after the grant

  output logic               row_we_o,
  output logic               col_we_o,
  output logic [7:0]         index_o,
  output logic signed [8:0]  line_o [LineBytes],

  output logic               second_released_o,
  output logic               idle_o
);

  logic          busy_q;        // a pass is being loaded
  logic          shadow_used_q; // loaded or loading, not swapped yet
  logic          ready_q;
  load_weights_t pass_q;
  // Lines to come, the zero line not counted; whether there is one, or one alone, in registers.
  logic [7:0]    left_q;
  logic          any_left_q, one_left_q;
  logic          first_q;       // no line but the zero line was issued
  logic [7:0]    index_q;       // row (or column) of the next line
  logic [7:0]    run_q;         // lines left before a gap in the rows
  logic          zero_next_q;   // the zero line is still to come
  logic [23:0]   addr_q;        // activation address
  logic [23:0]   freed_q;

  localparam int unsigned RingW = $clog2(WbufLines);
  logic [RingW-1:0] ring_q;     // ring line modulo WbufLines
  // ring position: absolute number -> address, kept with the absolute number it belongs to
  logic [RingW:0]   ring_abs_q; // low bits
  logic [RingW-1:0] ring_pos_q;

  logic lines_there;
  assign lines_there = $signed(written_i - pass_i.behind) >= 0;

  // Address of an absolute line: the pointer moves less than one ring length between passes.
  logic signed [RingW:0]   moved;
  logic signed [RingW+1:0] position;
  logic [RingW-1:0]        ring_start;
  assign moved    = $signed(pass_i.pointer[RingW:0] - ring_abs_q);
  assign position = $signed({2'b0, ring_pos_q}) + (RingW + 2)'(moved);
  always_comb begin
    if (position < 0) ring_start = RingW'(position + (RingW + 2)'(WbufLines));
    else if (position >= (RingW + 2)'(WbufLines)) begin
      ring_start = RingW'(position - (RingW + 2)'(WbufLines));
    end else ring_start = RingW'(position);
  end

  // A column write touches all rows: it waits until the swap has travelled through the array.
  localparam int unsigned SettleW = $clog2(Rows + 1);
  logic [SettleW-1:0] settle_q;

  // Lines of the ring are there at once: what follows from them does not wait for the banks.
  logic last_line, last_issue, ring_ends;
  assign ring_ends = ring_rd_o && last_line;

  logic go;
  assign go     = valid_i && (!busy_q || ring_ends) && !shadow_used_q
                  && (pass_i.source != '0 || lines_there)
                  && (pass_i.source != 2'd2 || settle_q == '0);
  assign take_o = go;

  logic issue;
  assign issue = busy_q && (zero_next_q || any_left_q);
  assign ring_rd_o   = issue && pass_q.source == '0;
  assign ring_addr_o = 24'(ring_q);
  assign act_valid_o = issue && pass_q.source != '0;
  assign act_addr_o  = addr_q;

  logic accepted;
  assign accepted = ring_rd_o || (act_valid_o && act_ready_i);

  // In flight: two stages for the activation source, one for the ring. What a line needs of its
  // pass goes with it, because pass_q may be the next one's.
  logic       f1_q, f2_q;
  logic       f1_last_q, f2_last_q;
  logic [7:0] f1_index_q, f2_index_q;
  logic       f1_zero_q;
  logic [1:0]        line_source_q;
  logic              line_signed_q, line_zeros_q;
  logic signed [8:0] line_zero_q;

  assign last_line  = !zero_next_q && one_left_q;
  assign last_issue = accepted && last_line;

  logic we;
  assign we = line_source_q == '0 ? f1_q && !f1_zero_q : f2_q;

  // A memory's data goes into a register before its zero point is taken from it. That is early
  // enough: the swap of row 0 comes four cycles after its line was issued.
  logic                row_we_q, col_we_q, zero_we_q, signed_q, zeros_q;
  logic [7:0]          row_q;
  logic [LineBits-1:0] data_q;
  logic signed [8:0]   zero_q, zero_line_q [Cols];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      row_we_q  <= 1'b0;
      col_we_q  <= 1'b0;
      zero_we_q <= 1'b0;
    end else begin
      row_we_q  <= we && line_source_q != 2'd2;
      col_we_q  <= we && line_source_q == 2'd2;
      zero_we_q <= f1_q && f1_zero_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (f1_q || f2_q) begin
      row_q    <= line_source_q == '0 ? f1_index_q : f2_index_q;
      data_q   <= line_source_q == '0 ? ring_data_i : act_data_i;
      signed_q <= line_signed_q;
      zeros_q  <= line_zeros_q;
      zero_q   <= line_zero_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (zero_we_q) begin
      for (int unsigned c = 0; c < Cols; c++) begin
        zero_line_q[c] <= {signed_q && data_q[c*8+7], data_q[c*8 +: 8]};
      end
    end
  end

  assign row_we_o = row_we_q;
  assign col_we_o = col_we_q;
  assign index_o  = row_q;
  always_comb begin
    for (int unsigned l = 0; l < LineBytes; l++) begin
      line_o[l] = {signed_q && data_q[l*8+7], data_q[l*8 +: 8]}
                  - (zeros_q && l < Cols ? zero_line_q[l < Cols ? l : 0] : zero_q);
    end
  end

  logic act_done;
  assign act_done = f2_q && f2_last_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q            <= 1'b0;
      shadow_used_q     <= 1'b0;
      ready_q           <= 1'b0;
      settle_q          <= '0;
      f1_q              <= 1'b0;
      f2_q              <= 1'b0;
      freed_q           <= '0;
      ring_abs_q        <= '0;
      ring_pos_q        <= '0;
      second_released_o <= 1'b0;
    end else begin
      second_released_o <= 1'b0;
      if (start_i) ready_q <= 1'b0;
      if (swapped_i) shadow_used_q <= 1'b0;
      if (swapped_i) settle_q <= SettleW'(Rows);
      else if (settle_q != '0) settle_q <= settle_q - 1'b1;
      if (accepted) begin
        line_source_q <= pass_q.source;
        line_signed_q <= pass_q.is_signed;
        line_zeros_q  <= pass_q.zero_line;
        line_zero_q   <= pass_q.zero;
        zero_next_q <= 1'b0;
        if (!zero_next_q) begin
          left_q     <= left_q - 8'd1;
          any_left_q <= !one_left_q;
          one_left_q <= left_q == 8'd2;
          first_q    <= 1'b0;
          run_q    <= run_q == 8'd1 ? pass_q.run : run_q - 8'd1;
          index_q  <= index_q + 8'd1 + (run_q == 8'd1 ? pass_q.gap : 8'd0);
        end
        if (pass_q.source == '0) begin
          ring_q <= ring_q == RingW'(WbufLines - 1) ? '0 : ring_q + 1'b1;
          if (!zero_next_q && first_q) ready_q <= 1'b1;
        end else begin
          addr_q <= addr_q + pass_q.stride;
        end
      end
      f1_q       <= accepted;
      f1_index_q <= index_q;
      f1_last_q  <= last_issue;
      f1_zero_q  <= zero_next_q;
      f2_q       <= f1_q && line_source_q != '0;
      f2_index_q <= f1_index_q;
      f2_last_q  <= f1_last_q;
      if (ring_ends) begin
        busy_q <= 1'b0;
        if (pass_q.free) freed_q <= pass_q.behind;
      end
      if (act_done) begin
        busy_q            <= 1'b0;
        ready_q           <= 1'b1;
        second_released_o <= pass_q.release_second;
      end
      // last: it may come with the last line of the pass before
      if (go) begin
        pass_q        <= pass_i;
        busy_q        <= 1'b1;
        shadow_used_q <= 1'b1;
        left_q        <= pass_i.lines;
        any_left_q    <= pass_i.lines != '0;
        one_left_q    <= pass_i.lines == 8'd1;
        first_q       <= 1'b1;
        index_q       <= '0;
        run_q         <= pass_i.run;
        zero_next_q   <= pass_i.zero_line && pass_i.source == '0;
        ring_q        <= ring_start;
        addr_q        <= pass_i.addr;
        if (pass_i.source == '0) begin
          ring_abs_q <= pass_i.pointer[RingW:0];
          ring_pos_q <= ring_start;
        end
      end
    end
  end

  // Where it starts and how long it is went into ring_q, addr_q and left_q.
  logic unused;
  assign unused = ^{pass_q.addr, pass_q.pointer, pass_q.lines};

  assign ready_o = ready_q;
  assign freed_o = freed_q;
  assign idle_o  = !busy_q && !valid_i && !f1_q && !f2_q && !row_we_q && !col_we_q;

`ifndef SYNTHESIS
  in_ring: assert property (@(posedge clk_i) disable iff (!rst_ni)
    ring_rd_o |-> 32'(ring_addr_o) < WbufLines)
    else $error("array_weights: line %0d of a ring of %0d", ring_addr_o, WbufLines);
  in_array: assert property (@(posedge clk_i) disable iff (!rst_ni)
    row_we_o |-> 32'(index_o) < Rows)
    else $error("array_weights: row %0d of %0d", index_o, Rows);
`endif

endmodule
