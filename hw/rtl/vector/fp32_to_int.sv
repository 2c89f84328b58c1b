// IEEE 754 binary32 to a quantised code: y = min(max(rint(x) + zero_point, lo), hi).
//
// rint rounds to nearest even and saturates (any bound from 2^11 to 2^30 gives the same code,
// because zero_point, lo and hi have 10 bits; magnitudes from 2^11 up are not converted here but
// clamped). NaN gives lo. One result per cycle: y_o is to be registered by fp32_pkg::ToIntLatency
// clock edges at which en_i is high, the last of them the user's: it comes out of logic. No valid
// bit inside, no reset of the data registers.

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

  if (LATENCY != 2) begin : gen_latency_check
    $error("fp32_to_int has 2 stages, fp32_pkg::ToIntLatency says %0d", LATENCY);
  end

  localparam logic [7:0] HalfExponent = 8'd126;  // 0.5 <= |x| < 1
  localparam logic [7:0] LastExponent = 8'd137;  // 2^10 <= |x| < 2^11

  // Stage 1: fixed point, rounding.

  logic               s1_negative_q, s1_nan_q, s1_above_range_q, s1_round_up_q;
  logic signed [12:0] s1_integer_q;
  logic signed [9:0]  s1_zero_point_q, s1_lo_q, s1_hi_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [7:0] exponent = x_i[30:23];
      // 11 integer bits and the round bit; what is shifted out behind them only tells that there is
      // more than the round bit says. Below one half all of them are zero.
      automatic logic [3:0] shift = 4'(LastExponent - exponent);
      automatic logic [11:0] kept = {1'b1, x_i[22:12]};
      automatic logic sticky = x_i[11:0] != '0;
      automatic logic below_half = exponent < HalfExponent;

      for (int k = 3; k >= 0; k--) begin
        if (shift[k]) begin
          for (int i = 0; i < 1 << k; i++) sticky = sticky | kept[i];
          kept = kept >> (1 << k);
        end
      end

      s1_negative_q <= x_i[31];
      s1_nan_q <= exponent == '1 && x_i[22:0] != '0;
      s1_above_range_q <= exponent > LastExponent;
      s1_integer_q <= below_half ? '0 : 13'(kept[11:1]);
      s1_round_up_q <= !below_half && kept[0] && (sticky || kept[1]);
      s1_zero_point_q <= zero_point_i;
      s1_lo_q <= lo_i;
      s1_hi_q <= hi_i;
    end
  end

  // Stage 2: sign, zero point, bounds.

  logic signed [12:0] sum;
  logic               below, above;

  always_comb begin
    // One adder for rounding, negation and zero point: -(n + r) + z = ~n + !r + z.
    sum = (s1_negative_q ? ~s1_integer_q : s1_integer_q) + 13'(s1_zero_point_q)
          + 13'(s1_negative_q ^ s1_round_up_q);
    below = s1_nan_q || (s1_above_range_q ? s1_negative_q : sum < 13'(s1_lo_q));
    above = !s1_nan_q && (s1_above_range_q ? !s1_negative_q : sum > 13'(s1_hi_q));
    y_o = above || (below && s1_lo_q > s1_hi_q) ? s1_hi_q : below ? s1_lo_q : sum[9:0];
  end

endmodule
