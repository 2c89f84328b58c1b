// The beats of a burst, one after the other: where each lies and which of its bytes belong to it.
//
// Combinational from span_i, which stands until the burst's last beat is taken; take_i takes a beat
// at the clock edge. Byte lanes offset .. LineBytes - pad - 1 of a beat belong to the burst; offset
// counts in the first beat alone, pad in the last one.

module burst_beats
  import df_pkg::*;
  import dma_pkg::*;
(
  input  logic                 clk_i,
  input  logic                 rst_ni,

  input  span_t                span_i,   // at least one beat when take_i
  input  logic                 take_i,

  output logic [23:0]          on_chip_o,
  output logic                 last_o,
  output logic [LineBytes-1:0] mask_o,
  output logic [LineIdxW:0]    bytes_o
);

  logic                first_q;  // the burst's first beat comes
  logic                last_q;   // its last one, when it is not the first
  logic [8:0]          left, left_q;  // beats to come, this one included
  logic [23:0]         on_chip_q;
  logic [LineIdxW-1:0] offset, pad;

  assign on_chip_o = first_q ? span_i.on_chip : on_chip_q;
  assign left = first_q ? span_i.beats : left_q;
  assign last_o = first_q ? span_i.single : last_q;
  assign offset = first_q ? span_i.offset : '0;
  assign pad = last_o ? span_i.pad : '0;
  assign mask_o = ({LineBytes{1'b1}} << offset) & ({LineBytes{1'b1}} >> pad);
  assign bytes_o = (LineIdxW + 1)'(LineBytes) - (LineIdxW + 1)'(offset) - (LineIdxW + 1)'(pad);

  always_ff @(posedge clk_i) begin
    if (take_i) begin
      on_chip_q <= on_chip_o + 24'(LineBytes);
      left_q <= left - 9'd1;
      last_q <= left == 9'd2;
    end
    if (!rst_ni) first_q <= 1'b1;
    else if (take_i) first_q <= last_o;
  end

`ifdef FORMAL
  // Proved by induction (tests/formal), for a burst that stands until its last beat is taken: the
  // last beat is the one that the burst's number says.
  logic       f_reset_q;
  logic [8:0] f_taken_q;
  span_t      f_span_q;

  initial f_reset_q = 1'b0;

  always @(posedge clk_i) begin
    assume (span_i.beats != '0 && span_i.single == (span_i.beats == 9'd1));
    f_span_q <= span_i;
    if (!rst_ni) begin
      f_reset_q <= 1'b1;
      f_taken_q <= '0;
    end else if (take_i) begin
      f_taken_q <= last_o ? '0 : f_taken_q + 9'd1;
    end
    if (f_reset_q) begin
      if (f_taken_q != '0) assume (span_i == f_span_q);
      assert (first_q == (f_taken_q == '0));
      assert (f_taken_q < span_i.beats);
      if (!first_q) assert (left_q == span_i.beats - f_taken_q && last_q == (left_q == 9'd1));
      assert (last_o == (f_taken_q == span_i.beats - 9'd1));
    end
  end
`elsif SYNTHESIS
`else
  has_beats: assert property (@(posedge clk_i) disable iff (!rst_ni)
    take_i |-> span_i.data && span_i.beats != '0 && span_i.single == (span_i.beats == 9'd1))
    else $error("burst_beats: a beat of a burst of %0d is taken", span_i.beats);
`endif

endmodule
