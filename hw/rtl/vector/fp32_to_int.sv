// IEEE 754 binary32 to a quantised code: y = min(max(rint(x) + zero_point, lo), hi).
//
// rint rounds to nearest even and saturates (any bound from 2^11 to 2^30 gives the same code,
// because zero_point, lo and hi have 10 bits; magnitudes from 2^11 up are not converted here but
// clamped). NaN gives lo. One result per cycle, registered: y_o follows x_i by
// fp32_pkg::ToIntLatency clock edges at which en_i is high. No valid bit inside, no reset of the
// data register.

module fp32_to_int
  import fp32_pkg::*;
#(
  localparam int unsigned LATENCY = ToIntLatency
) (
  input  logic              clk_i,
  input  logic              en_i,

  input  logic       [31:0] x_i,
  input  logic signed [9:0] zero_point_i,
  input  logic signed [9:0] lo_i,
  input  logic signed [9:0] hi_i,  // where hi < lo, hi wins
  output logic signed [9:0] y_o
);

  if (LATENCY != 1) begin : gen_latency_check
    $error("fp32_to_int has 1 stage, fp32_pkg::ToIntLatency says %0d", LATENCY);
  end

  localparam logic [7:0] HalfExponent = 8'd126;  // 0.5 <= |x| < 1
  localparam logic [7:0] LastExponent = 8'd137;  // 2^10 <= |x| < 2^11

  logic signed [9:0] y_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic negative = x_i[31];
      automatic logic [7:0] exponent = x_i[30:23];
      automatic logic nan = exponent == '1 && x_i[22:0] != '0;
      automatic logic above_range = exponent > LastExponent;
      // 11 integer bits, the round bit, 23 sticky bits; below one half all of them are zero.
      automatic logic [3:0] shift = 4'(LastExponent - exponent);
      automatic logic [34:0] fixed = exponent < HalfExponent ? '0
                                     : {1'b1, x_i[22:0], 11'b0} >> shift;
      automatic logic round_up = fixed[23] && (fixed[22:0] != '0 || fixed[24]);
      // One adder for rounding, negation and zero point: -(n + r) + z = ~n + !r + z.
      automatic logic signed [12:0] integer_part = 13'(fixed[34:24]);
      automatic logic signed [12:0] sum = (negative ? ~integer_part : integer_part)
                                          + 13'(zero_point_i)
                                          + 13'(negative ^ round_up);
      automatic logic below = nan || (above_range ? negative : sum < 13'(lo_i));
      automatic logic above = !nan && (above_range ? !negative : sum > 13'(hi_i));
      automatic logic signed [9:0] at_least_lo = below ? lo_i : sum[9:0];

      y_q <= above || (below && lo_i > hi_i) ? hi_i : at_least_lo;
    end
  end

  assign y_o = y_q;

endmodule
