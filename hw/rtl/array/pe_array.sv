// Weight-stationary array: Rows x Cols multiply-accumulate, sums run down the columns.
//
// Operand of row r enters r cycles after the operand of row 0 of the same output point, because a
// partial sum needs one cycle for each row. In flat mode a row's operand is one value for all
// columns. In FIR mode (depthwise) it is a whole line, one value for each column:
// port j's line goes to fir_taps consecutive rows without skew, so that the running sum itself is
// the delay line of the filter; port j is delayed by j * fir_taps cycles instead.
//
// New weights are written a row (or a column) at a time into shadow registers. `swap_i` comes one
// cycle before the first operand of a pass and travels down with it: row r takes its shadow
// weights, its port and its delay at that moment, so passes follow each other without a gap.
// psum_o belongs to the point that entered Rows cycles earlier (launch_i delayed by Rows).

module pe_array
  import df_pkg::*;
#(
  localparam int unsigned RowW = $clog2(Rows) > 0 ? $clog2(Rows) : 1,
  localparam int unsigned ColW = $clog2(Cols) > 0 ? $clog2(Cols) : 1
) (
  input  logic clk_i,
  input  logic rst_ni,

  // operands of this cycle: per port a line of 9-bit differences
  input  logic              step_i,  // any operand, launch or swap in flight enters
  input  logic signed [8:0] flat_i [Rows],             // flat mode: one value for each row
  input  logic signed [8:0] line_i [FeedPorts][Cols],  // FIR mode: a line for each port

  // pass configuration, sampled with swap_i
  input  logic              swap_i,
  input  logic              fir_i,
  input  logic [1:0]        row_port_i  [Rows],  // FIR: port of each row, 3 = row unused
  input  logic [5:0]        row_delay_i [Rows],  // FIR: delay of that port

  // shadow weights
  input  logic              w_row_we_i,
  input  logic              w_col_we_i,
  input  logic [7:0]        w_index_i,
  input  logic signed [8:0] w_line_i [LineBytes],

  output logic signed [31:0] psum_o [Cols]
);

  localparam int unsigned Depth = 2 ** $clog2(Rows + 2);
  localparam int unsigned DepthW = $clog2(Depth);

  logic signed [8:0]  weight_q [Rows][Cols];
  logic signed [8:0]  shadow_q [Rows][Cols];
  logic signed [31:0] psum_q   [Rows][Cols];

  // Histories are rings: a delay of d cycles reads d entries back, no shifting.
  logic signed [8:0]  flat_hist_q [Depth][Rows];
  logic signed [8:0]  line_hist_q [FeedPorts][Depth][Cols];
  logic [DepthW-1:0]  now_q;

  logic               swap_q      [Rows];
  logic               fir_q       [Rows];
  logic [1:0]         row_port_q  [Rows];
  logic [5:0]         row_delay_q [Rows];
  logic               fir_hist_q  [Depth];
  logic [1:0]         port_hist_q  [Depth][Rows];
  logic [5:0]         delay_hist_q [Depth][Rows];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      now_q <= '0;
    end else if (step_i) begin
      now_q <= now_q + 1'b1;
    end
  end

  // Row 0 uses this cycle's inputs; the history serves the others.
  always_ff @(posedge clk_i) begin
    if (step_i) begin
      for (int unsigned r = 0; r < Rows; r++) begin
        flat_hist_q[now_q][r] <= flat_i[r];
      end
      for (int unsigned p = 1; p < FeedPorts; p++) begin
        for (int unsigned c = 0; c < Cols; c++) begin
          line_hist_q[p][now_q][c] <= line_i[p][c];
        end
      end
      if (swap_i) begin
        fir_hist_q[now_q] <= fir_i;
        for (int unsigned r = 0; r < Rows; r++) begin
          port_hist_q[now_q][r]  <= row_port_i[r];
          delay_hist_q[now_q][r] <= row_delay_i[r];
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      for (int unsigned r = 0; r < Rows; r++) begin
        swap_q[r] <= 1'b0;
      end
    end else if (step_i) begin
      swap_q[0] <= swap_i;
      for (int unsigned r = 1; r < Rows; r++) begin
        swap_q[r] <= swap_q[r-1];
      end
    end
  end

  // Row r swaps when the wavefront's swap has travelled r cycles.
  always_ff @(posedge clk_i) begin
    if (step_i) begin
      for (int unsigned r = 0; r < Rows; r++) begin
        if (r == 0 ? swap_i : swap_q[r-1]) begin
          fir_q[r]       <= r == 0 ? fir_i : fir_hist_q[DepthW'(now_q - DepthW'(r))];
          row_port_q[r]  <= r == 0 ? row_port_i[0] : port_hist_q[DepthW'(now_q - DepthW'(r))][r];
          row_delay_q[r] <= r == 0 ? row_delay_i[0] : delay_hist_q[DepthW'(now_q - DepthW'(r))][r];
          for (int unsigned c = 0; c < Cols; c++) begin
            weight_q[r][c] <= shadow_q[r][c];
          end
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (w_row_we_i && w_index_i < 8'(Rows)) begin
      for (int unsigned c = 0; c < Cols; c++) begin
        shadow_q[RowW'(w_index_i)][c] <= w_line_i[c];
      end
    end
    if (w_col_we_i && w_index_i < 8'(Cols)) begin
      for (int unsigned r = 0; r < Rows; r++) begin
        shadow_q[r][ColW'(w_index_i)] <= w_line_i[r];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (step_i) begin
      for (int unsigned r = 0; r < Rows; r++) begin
        automatic logic [DepthW-1:0] at = fir_q[r] ? DepthW'(now_q - DepthW'(row_delay_q[r]))
                                                   : DepthW'(now_q - DepthW'(r));
        if (!fir_q[r]) begin
          automatic logic signed [8:0] x = r == 0 ? flat_i[0] : flat_hist_q[at][r];
          for (int unsigned c = 0; c < Cols; c++) begin
            psum_q[r][c] <= (r == 0 ? 32'sd0 : psum_q[r == 0 ? 0 : r-1][c])
                            + 32'(x) * 32'(weight_q[r][c]);
          end
        end else begin
          for (int unsigned c = 0; c < Cols; c++) begin
            automatic logic signed [8:0] x = row_port_q[r] == 2'd3 ? 9'sd0
                                             : row_delay_q[r] == '0 ? line_i[row_port_q[r]][c]
                                             : line_hist_q[row_port_q[r]][at][c];
            psum_q[r][c] <= (r == 0 ? 32'sd0 : psum_q[r == 0 ? 0 : r-1][c])
                            + 32'(x) * 32'(weight_q[r][c]);
          end
        end
      end
    end
  end

  for (genvar c = 0; c < Cols; c++) begin : gen_out
    assign psum_o[c] = psum_q[Rows-1][c];
  end

endmodule
