// The function stages beside the lanes: one for two lanes.
//
// A line comes when it leaves the multiply-add (x_i, scale_i, line_i with valid_i) and is back
// FunctionExtra cycles later (y_o, line_o with valid_o). A stage takes the even lane first and the
// odd one in the next cycle, so lines are two cycles apart; the control of the vector engine sees
// to that, and to the way behind the stages being free when a line comes back.
// Without stages (VectorFunctions is 0) the program is refused before it has such a line.

module vector_functions
  import df_pkg::*;
  import vector_pkg::*;
(
  // Waived: a machine without stages reads none of them.
  // verilator lint_off UNUSEDSIGNAL
  input  logic              clk_i,
  input  logic              rst_ni,

  input  logic              valid_i,
  input  logic [2:0]        function_i,
  input  logic [31:0]       x_i [Cols],
  input  logic signed [9:0] scale_i [Cols],
  input  returning_t        line_i,
  // verilator lint_on UNUSEDSIGNAL

  output logic              valid_o,
  output logic [31:0]       y_o [Cols],
  output returning_t        line_o,
  output logic              busy_o
);

  if (VectorFunctions != 0 && VectorFunctions != (Cols + 1) / 2) begin : gen_functions_check
    $error("%0d lanes need %0d function stages, not %0d", Cols, (Cols + 1) / 2, VectorFunctions);
  end

  if (VectorFunctions == 0) begin : gen_none
    assign valid_o = 1'b0;
    assign line_o = '0;
    assign busy_o = 1'b0;
    always_comb begin
      for (int unsigned i = 0; i < Cols; i++) y_o[i] = '0;
    end
  end else begin : gen_stages
    localparam int unsigned RingW = $clog2(FunctionExtra + 1);

    logic [FunctionExtra:1] valid_q;
    logic [2:0]             function_q;
    returning_t             ring_q [1 << RingW];
    logic [RingW-1:0]       now_q;
    logic                   moves;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        valid_q <= '0;
        now_q <= '0;
      end else begin
        valid_q <= {valid_q[FunctionExtra-1:1], valid_i};
        now_q <= now_q + 1'b1;
      end
    end

    always_ff @(posedge clk_i) begin
      if (valid_i) begin
        function_q <= function_i;
        ring_q[now_q] <= line_i;
      end
    end

    assign moves = valid_q[FunctionExtra-1:1] != '0;
    assign valid_o = valid_q[FunctionExtra];
    assign busy_o = valid_q != '0;
    assign line_o = ring_q[now_q - RingW'(FunctionExtra)];

    for (genvar f = 0; f < VectorFunctions; f++) begin : gen_stage
      localparam int unsigned Even = 2 * f;
      localparam int unsigned Odd = 2 * f + 1 < Cols ? 2 * f + 1 : Even;
      logic [31:0]       x_q, second_q, y, even_q;
      logic signed [9:0] scale_q, second_scale_q;

      always_ff @(posedge clk_i) begin
        if (valid_i) begin
          x_q <= x_i[Even];
          scale_q <= scale_i[Even];
          second_q <= x_i[Odd];
          second_scale_q <= scale_i[Odd];
        end else if (valid_q[1]) begin
          x_q <= second_q;
          scale_q <= second_scale_q;
        end
        if (valid_q[FunctionExtra-1]) even_q <= y;
      end

      fp32_function u_function (
        .clk_i,
        .en_i      (moves),
        .function_i(function_q),
        .x_i       (x_q),
        .scale_i   (scale_q),
        .y_o       (y)
      );

      assign y_o[Even] = even_q;
      if (Odd != Even) begin : gen_odd
        assign y_o[Odd] = y;
      end
    end

`ifndef SYNTHESIS
    lines_apart: assert property (@(posedge clk_i) disable iff (!rst_ni)
      valid_i |-> !valid_q[1])
      else $error("vector: lines of a function follow each other without a gap");
`endif
  end

endmodule
