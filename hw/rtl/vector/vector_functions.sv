// The function stages beside the lanes: each for FunctionLanes neighbouring lanes.
//
// A line comes when it leaves the multiply-add (x_i, scale_i, line_i with valid_i) and is back
// FunctionExtra cycles later (y_o, line_o with valid_o). A stage takes its lanes one after the
// other, so lines are FunctionLanes cycles apart; the control of the vector engine sees to that,
// and to the way behind the stages being free when a line comes back.
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

  if (VectorFunctions != 0
      && (FunctionLanes < 2 || (VectorFunctions != (Cols + 1) / 2 && Cols % VectorFunctions != 0)))
  begin : gen_functions_check
    $error("%0d lanes need %0d function stages or a smaller divisor, not %0d", Cols, (Cols + 1) / 2,
           VectorFunctions);
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
      localparam int unsigned First = FunctionLanes * f;
      localparam int unsigned Lanes = First + FunctionLanes <= Cols ? FunctionLanes : Cols - First;
      logic [31:0]       x_q [FunctionLanes];  // the one that enters, and those that wait
      logic signed [9:0] scale_q [FunctionLanes];
      logic [31:0]       y;

      always_ff @(posedge clk_i) begin
        if (valid_i || valid_q[FunctionLanes-1:1] != '0) begin
          for (int unsigned l = 0; l < FunctionLanes; l++) begin
            x_q[l] <= valid_i ? x_i[First+(l < Lanes ? l : 0)]
                      : x_q[l+1 < FunctionLanes ? l+1 : l];
            scale_q[l] <= valid_i ? scale_i[First+(l < Lanes ? l : 0)]
                          : scale_q[l+1 < FunctionLanes ? l+1 : l];
          end
        end
      end

      fp32_function u_function (
        .clk_i,
        .en_i      (moves),
        .function_i(function_q),
        .x_i       (x_q[0]),
        .scale_i   (scale_q[0]),
        .y_o       (y)
      );

      // The first lanes' results wait for the last one's.
      for (genvar l = 0; l < Lanes; l++) begin : gen_lane
        if (l == FunctionLanes - 1) begin : gen_last
          assign y_o[First+l] = y;
        end else begin : gen_waits
          logic [31:0] y_q;
          always_ff @(posedge clk_i) begin
            if (valid_q[FunctionExtra-FunctionLanes+1+l]) y_q <= y;
          end
          assign y_o[First+l] = y_q;
        end
      end
    end

`ifndef SYNTHESIS
    lines_apart: assert property (@(posedge clk_i) disable iff (!rst_ni)
      valid_i |-> valid_q[FunctionLanes-1:1] == '0)
      else $error("vector: lines of a function follow each other too closely");
`endif
  end

endmodule
