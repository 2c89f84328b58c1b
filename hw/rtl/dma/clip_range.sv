// The part of a run of coordinates that lies inside a tensor.
//
// Coordinates start_i .. start_i + count_i - 1, of which those in [0, size_i) are kept: the first
// skip_o are dropped, count_o follow. Both mean nothing when none_o. The inputs are read at the
// clock edge of sample_i; the outputs are those of the last sample, from the next cycle on.

module clip_range #(
  parameter int unsigned Width = 16  // of counts
) (
  input  logic               clk_i,

  input  logic               sample_i,
  input  logic signed [31:0] start_i,
  input  logic [31:0]        size_i,
  input  logic [Width-1:0]   count_i,

  output logic               none_o,
  output logic [Width-1:0]   skip_o,
  output logic [Width-1:0]   count_o
);

  localparam int unsigned WideW = 34;  // size - start lies in (-2^31, 2^32 + 2^31)

  if (Width > 32) begin : gen_width_check
    $error("counts have up to 32 bits, not %0d", Width);
  end

  // One subtraction and one comparison before the registers, one comparison and one subtraction
  // behind them.
  logic                    before_q;   // starts before the tensor
  logic                    nothing_q;  // the tensor has no size
  logic [31:0]             low_q;      // coordinates before the tensor
  logic signed [WideW-1:0] high_q;     // from the start to the tensor's end
  logic [Width-1:0]        all_q;

  always_ff @(posedge clk_i) begin
    if (sample_i) begin
      before_q <= start_i < 0;
      nothing_q <= size_i == '0;
      low_q <= start_i < 0 ? -32'(start_i) : '0;
      high_q <= signed'(WideW'(size_i)) - WideW'(start_i);
      all_q <= count_i;
    end
  end

  logic [Width-1:0] high;

  assign high = high_q < signed'(WideW'(all_q)) ? Width'(high_q) : all_q;
  assign none_o = (before_q ? nothing_q : high_q <= 0) || 32'(all_q) <= low_q;
  assign skip_o = Width'(low_q);
  assign count_o = high - Width'(low_q);

endmodule
