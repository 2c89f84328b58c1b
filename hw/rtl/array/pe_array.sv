// Weight-stationary array: Rows x Cols multiply-accumulate, sums run down the columns. One
// multiplier a PE serves both modes.
//
// Operand of row r enters r cycles after the operand of row 0 of the same output point, because a
// partial sum needs one cycle for each row. In flat mode a row's operand is one value for all
// columns; it waits in a triangle of registers, r of them for row r. In FIR mode (depthwise) it is
// a whole line, one value for each column: port j's line goes to its rows without skew, so that the
// running sum itself is the delay line of the filter. The rows of port j begin at j * fir_rows_i,
// and its line comes that many cycles late: one delay line for each port behind port 0.
// The operand is the OR of both kinds: flat_i is zero in the steps of FIR passes, and a row of a
// flat pass has no port.
//
// New weights are written a row (or a column) at a time into shadow registers. Line l rotated by
// the row's (or the column's) number lies in lane (row + column) of each PE, whichever it is.
// `swap_i` comes one cycle before the first operand of a pass and travels down with it: row r takes
// its shadow weights and its port at that moment, so passes follow each other without a gap. The
// ports' delays change with swap_i itself: while a FIR pass is in the array, fir_rows_i of the next
// one must be the same.
// psum_o belongs to the point that entered Rows cycles earlier (launch_i delayed by Rows).

module pe_array
  import df_pkg::*;
(
  input  logic clk_i,
  input  logic rst_ni,

  // operands of this cycle: per port a line of 9-bit differences
  input  logic              step_i,  // any operand, launch or swap in flight enters
  input  logic signed [8:0] flat_i [Rows],             // flat mode: one value for each row
  input  logic signed [8:0] line_i [FeedPorts][Cols],  // FIR mode: a line for each port

  // pass configuration, sampled with swap_i
  input  logic                 swap_i,
  input  logic                 fir_i,
  input  logic [7:0]           fir_rows_i,  // rows from port to port, at least 1
  input  logic [Rows-1:0][FeedPorts-1:0] row_port_i,  // FIR: port of each row, one bit or none

  // shadow weights
  input  logic              w_row_we_i,
  input  logic              w_col_we_i,
  input  logic [7:0]        w_index_i,
  input  logic signed [8:0] w_line_i [LineBytes],

  output logic signed [31:0] psum_o [Cols]
);

  // A port begins at the latest in row Rows - 1, and one cycle is a register.
  localparam int unsigned DepthW = Rows > 2 ? $clog2(Rows - 1) : 1;
  localparam int unsigned Depth = 2 ** DepthW;

  logic signed [8:0] weight_q [Rows][Cols];
  logic signed [8:0] shadow_q [Rows][Cols];

  // Skew of the flat operands: stage k holds what came k + 1 steps ago, of the rows that need it.
  logic [Rows-1:0][8:0] flat, skew_q [Rows];

  // The swap and what it brings, row by row.
  logic [Rows-1:0]                swap_q;
  logic [Rows-1:0][FeedPorts-1:0] port_q [Rows];

  for (genvar r = 0; r < Rows; r++) begin : gen_flat
    assign flat[r] = flat_i[r];
  end

  always_ff @(posedge clk_i) begin
    if (step_i) begin
      skew_q[0] <= flat;
      for (int unsigned k = 1; k < Rows; k++) skew_q[k] <= skew_q[k-1];
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) swap_q <= '0;
    else if (step_i) swap_q <= Rows'({swap_q, swap_i});
  end

  always_ff @(posedge clk_i) begin
    if (step_i) begin
      for (int unsigned r = 0; r < Rows; r++) begin
        if (r == 0 ? swap_i : swap_q[r-1]) begin
          port_q[r] <= r == 0 ? row_port_i : port_q[r-1];
          for (int unsigned c = 0; c < Cols; c++) begin
            weight_q[r][c] <= shadow_q[r][c];
          end
        end
      end
    end
  end

  // The rotation, bit of the index by bit.
  logic [LineBytes-1:0][8:0] w_lanes;

  always_comb begin
    for (int unsigned l = 0; l < LineBytes; l++) w_lanes[l] = w_line_i[l];
    for (int unsigned k = 0; k < LineIdxW; k++) begin
      if (w_index_i[k]) begin
        w_lanes = (9*LineBytes)'({w_lanes, w_lanes} << (9 * 2**k) >> (9*LineBytes));
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int unsigned r = 0; r < Rows; r++) begin
      for (int unsigned c = 0; c < Cols; c++) begin
        if ((w_row_we_i && w_index_i == 8'(r)) || (w_col_we_i && w_index_i == 8'(c))) begin
          shadow_q[r][c] <= w_lanes[LineIdxW'(r + c)];
        end
      end
    end
  end

  // Delayed lines of the ports 1 and up: a ring that is read `back` places behind its write (LUT
  // RAM), and a register.
  logic [Cols-1:0][8:0] late_q [FeedPorts];
  logic [DepthW-1:0]    now_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) now_q <= '0;
    else if (step_i) now_q <= now_q + 1'b1;
  end

  for (genvar p = 0; p < FeedPorts; p++) begin : gen_port
    logic [Cols-1:0][8:0] line;

    for (genvar c = 0; c < Cols; c++) begin : gen_pack
      assign line[c] = line_i[p][c];
    end

    if (p == 0) begin : gen_direct
      assign late_q[p] = line;
    end else begin : gen_late
      logic [Cols-1:0][8:0] ring_q [Depth];
      logic [DepthW-1:0]    back_q;  // the delay, less the register's cycle
      logic                 none_q;

      always_ff @(posedge clk_i) begin
        if (step_i) begin
          ring_q[now_q] <= line;
          late_q[p] <= none_q ? line : ring_q[DepthW'(now_q - back_q)];
          if (swap_i && fir_i) begin
            back_q <= DepthW'(fir_rows_i * 8'(p) - 8'd1);
            none_q <= fir_rows_i * 8'(p) == 8'd1;
          end
        end
      end
    end
  end

  for (genvar r = 0; r < Rows; r++) begin : gen_row
    // r + 1 products of two 9-bit values.
    localparam int unsigned SumW = 18 + $clog2(r + 1);

    logic [Cols-1:0][8:0]   operands;
    logic signed [SumW-1:0] above [Cols], sum_q [Cols];

    always_comb begin
      automatic logic [8:0] single = r == 0 ? flat[0] : skew_q[r == 0 ? 0 : r-1][r];
      operands = {Cols{single}};
      // Port p begins in row p at the earliest.
      for (int unsigned p = 0; p < FeedPorts && p <= r; p++) begin
        operands |= late_q[p] & {9*Cols{port_q[r][r][p]}};
      end
    end

    for (genvar c = 0; c < Cols; c++) begin : gen_above
      if (r == 0) begin : gen_none
        assign above[c] = '0;
      end else begin : gen_sum
        assign above[c] = SumW'(gen_row[r-1].sum_q[c]);
      end
    end

    always_ff @(posedge clk_i) begin
      if (step_i) begin
        for (int unsigned c = 0; c < Cols; c++) begin
          sum_q[c] <= above[c] + SumW'(18'($signed(operands[c])) * 18'(weight_q[r][c]));
        end
      end
    end
  end

  for (genvar c = 0; c < Cols; c++) begin : gen_out
    assign psum_o[c] = 32'(gen_row[Rows-1].sum_q[c]);
  end

`ifndef SYNTHESIS
  one_write: assert property (@(posedge clk_i) disable iff (!rst_ni) !(w_row_we_i && w_col_we_i))
    else $error("pe_array: a row and a column of weights are written in one cycle");
  port_rows: assert property (@(posedge clk_i) disable iff (!rst_ni)
    step_i && swap_i && fir_i |-> fir_rows_i != '0 && 32'(fir_rows_i) < Rows + 1)
    else $error("pe_array: %0d rows from port to port", fir_rows_i);
  one_kind: assert property (@(posedge clk_i) disable iff (!rst_ni)
    step_i && port_q[0][0] != '0 |-> flat == '0)
    else $error("pe_array: flat operands in a FIR pass");
`endif

endmodule
