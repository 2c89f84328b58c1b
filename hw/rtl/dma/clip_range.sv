// The part of a run of coordinates that lies inside a tensor. Combinational.
//
// Coordinates start_i .. start_i + count_i - 1, of which those in [0, size_i) are kept: the first
// skip_o are dropped, count_o follow. Both mean nothing when none_o.

module clip_range #(
  parameter int unsigned Width = 16  // of counts
) (
  input  logic signed [31:0] start_i,
  input  logic [31:0]        size_i,
  input  logic [Width-1:0]   count_i,

  output logic               none_o,
  output logic [Width-1:0]   skip_o,
  output logic [Width-1:0]   count_o
);

  localparam int unsigned WideW = 35;  // size - start lies in (-2^31, 2^33)

  if (Width > 32) begin : gen_width_check
    $error("counts have up to 32 bits, not %0d", Width);
  end

  logic signed [WideW-1:0] low, high, kept;

  always_comb begin
    low = start_i < 0 ? -WideW'(start_i) : '0;
    high = signed'(WideW'(size_i)) - WideW'(start_i);
    if (high > signed'(WideW'(count_i))) high = signed'(WideW'(count_i));
    kept = high - low;
    none_o = kept <= 0;
    skip_o = Width'(low);
    count_o = Width'(kept);
  end

endmodule
