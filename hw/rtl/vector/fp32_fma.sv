// IEEE 754 binary32 fused multiply-add: y = a * b + c, rounded once, to nearest even.
//
// Subnormal operands and results are exact (gradual underflow), infinities and signed zeros follow
// the standard, every NaN result is the canonical quiet NaN. One result per cycle;
// y_o follows the operands by fp32_pkg::FmaLatency clock edges at which en_i is high.
// The pipeline holds no valid bits: the caller tracks them. Data registers have no reset.
//
// Alignment frame. The product P has 48 bits, its 2^0 place at bit 46; the addend C is put at the
// same place. Whichever exponent is smaller is shifted right into 3 guard bits and 1 sticky bit.
// Three guard bits are enough for one rounding although a product with one subnormal factor may
// have 23 leading zeros: bits of C are lost only when C lies more than 26 places below 2^0, so at
// most one place cancels and bits 22.. of P down to the guards still hold 24 bits, a round bit and
// the sticky bit. With both factors subnormal C always has the larger exponent, and the rounding
// place is 2^-149, well inside the frame.
//
// Each stage computes inside its clocked block, so that a simulator does no work in a stage whose
// enable is low, and synthesis sees the same registers as with separate next-state signals. A stage
// is one carry chain, or one shifter, or one priority encoder, with little around it.

module fp32_fma
  import fp32_pkg::*;
#(
  localparam int unsigned LATENCY = FmaLatency
) (
  input  logic        clk_i,
  input  logic        en_i,  // advances the whole pipeline

  input  logic [31:0] a_i,
  input  logic [31:0] b_i,
  input  logic [31:0] c_i,
  input  logic        product_i,  // c_i does not count: -0, so that y = a * b
  output logic [31:0] y_o
);

  localparam int unsigned FrameWidth = 53;  // carry, 48 product bits, 3 guard bits, sticky
  localparam int unsigned ShiftWidth = 51;  // the frame without carry and sticky
  localparam int unsigned LowWidth = 18;    // of a significand: a multiplier's operand
  localparam int unsigned HighWidth = 6;    // the rest of it

  if (LATENCY != 8) begin : gen_latency_check
    $error("fp32_fma has 8 stages, fp32_pkg::FmaLatency says %0d", LATENCY);
  end

  // What a result is when it is not the rounded sum.
  typedef struct packed {
    logic nan;
    logic inf;
    logic inf_sign;
  } special_t;

  // Stage 1: unpack; exponents; special operands.

  logic [23:0]        s1_sig_a_q, s1_sig_b_q, s1_sig_c_q;
  logic               s1_sign_p_q, s1_sign_c_q, s1_p_zero_q;
  logic signed [10:0] s1_exp_p_q, s1_exp_c_q;  // biased; of a subnormal: 1
  special_t           s1_special_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic a_sub = a_i[30:23] == '0;
      automatic logic b_sub = b_i[30:23] == '0;
      automatic logic c_sub = c_i[30:23] == '0;
      automatic logic a_max = a_i[30:23] == '1;
      automatic logic b_max = b_i[30:23] == '1;
      automatic logic c_max = c_i[30:23] == '1 && !product_i;
      automatic logic a_zero = a_sub && a_i[22:0] == '0;
      automatic logic b_zero = b_sub && b_i[22:0] == '0;
      automatic logic nan_operand = (a_max && a_i[22:0] != '0) || (b_max && b_i[22:0] != '0)
                                    || (c_max && c_i[22:0] != '0);
      automatic logic sign_p = a_i[31] ^ b_i[31];
      automatic logic p_inf = a_max || b_max;  // where no NaN is involved

      s1_sig_a_q <= {!a_sub, a_i[22:0]};
      s1_sig_b_q <= {!b_sub, b_i[22:0]};
      s1_sig_c_q <= product_i ? '0 : {!c_sub, c_i[22:0]};
      s1_sign_p_q <= sign_p;
      s1_sign_c_q <= c_i[31] || product_i;
      s1_p_zero_q <= a_zero || b_zero;
      s1_exp_p_q <= 11'(a_i[30:23]) + 11'(a_sub) + 11'(b_i[30:23]) + 11'(b_sub) - 11'sd127;
      s1_exp_c_q <= product_i ? 11'sd1 : 11'(c_i[30:23]) + 11'(c_sub);
      s1_special_q <= '{
          nan: nan_operand || (a_max && b_zero) || (b_max && a_zero)
               || (p_inf && c_max && sign_p != c_i[31]),
          inf: p_inf || c_max,
          inf_sign: p_inf ? sign_p : c_i[31]
      };
    end
  end

  // Stage 2: partial products; exponent difference.

  logic [2*HighWidth-1:0] s2_hh_q;           // high part of a and of b
  logic [23:0]            s2_hl_q, s2_lh_q;  // high and low part
  logic [2*LowWidth-1:0]  s2_ll_q;
  logic [23:0]            s2_sig_c_q;
  logic                   s2_sign_p_q, s2_sign_c_q;
  logic                   s2_c_larger_q;  // exponent of C above that of P
  logic [8:0]             s2_distance_q;  // absolute exponent difference
  logic [8:0]             s2_exp_q;       // larger of the two exponents, at least 1
  special_t               s2_special_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [HighWidth-1:0] a_high = s1_sig_a_q[23:LowWidth];
      automatic logic [LowWidth-1:0] a_low = s1_sig_a_q[LowWidth-1:0];
      automatic logic [HighWidth-1:0] b_high = s1_sig_b_q[23:LowWidth];
      automatic logic [LowWidth-1:0] b_low = s1_sig_b_q[LowWidth-1:0];
      automatic logic [2*HighWidth-1:0] hh = '0;
      // Exponents are -125 to 381 and 1 to 254.
      automatic logic signed [9:0] order = 10'(s1_exp_p_q) - 10'(s1_exp_c_q);
      automatic logic c_larger = order[9];
      // Both differences at once instead of a conditional negation behind the subtraction.
      automatic logic [8:0] p_minus_c = order[8:0];
      automatic logic [8:0] c_minus_p = 9'(s1_exp_c_q - s1_exp_p_q);

      // As sums, so that no synthesis takes a fourth multiplier for so small a product.
      for (int i = 0; i < HighWidth; i++) begin
        hh = hh + ((2 * HighWidth)'(b_high & {HighWidth{a_high[i]}}) << i);
      end
      s2_hh_q <= hh;
      s2_hl_q <= 24'(a_high) * 24'(b_low);
      s2_lh_q <= 24'(a_low) * 24'(b_high);
      s2_ll_q <= (2 * LowWidth)'(a_low) * (2 * LowWidth)'(b_low);
      s2_sig_c_q <= s1_sig_c_q;
      s2_sign_p_q <= s1_sign_p_q;
      s2_sign_c_q <= s1_sign_c_q;
      s2_c_larger_q <= c_larger;
      // A zero product must not push the addend out of the frame, whatever its factors' exponents.
      s2_distance_q <= s1_p_zero_q ? '0 : c_larger ? c_minus_p : p_minus_c;
      s2_exp_q <= s1_p_zero_q || c_larger ? s1_exp_c_q[8:0] : s1_exp_p_q[8:0];
      s2_special_q <= s1_special_q;
    end
  end

  // Stage 3: product.

  logic [47:0]           s3_product_q;
  logic [23:0]           s3_sig_c_q;
  logic [5:0]            s3_shift_q;
  logic                  s3_sign_p_q, s3_sign_c_q, s3_c_larger_q;
  logic [8:0]            s3_exp_q;
  special_t              s3_special_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic all_lost = s2_distance_q[8:6] != '0;  // a shift by 63 leaves nothing either
      automatic logic [24:0] middle = 25'(s2_hl_q) + 25'(s2_lh_q);

      s3_product_q <= {s2_hh_q, s2_ll_q} + {5'b0, middle, LowWidth'(0)};
      s3_sig_c_q <= s2_sig_c_q;
      s3_shift_q <= s2_distance_q[5:0] | {6{all_lost}};
      s3_sign_p_q <= s2_sign_p_q;
      s3_sign_c_q <= s2_sign_c_q;
      s3_c_larger_q <= s2_c_larger_q;
      s3_exp_q <= s2_exp_q;
      s3_special_q <= s2_special_q;
    end
  end

  // Stage 4: the operand of the smaller exponent is shifted to the place of the other one.

  logic [FrameWidth-1:0] s4_small_q, s4_large_q;
  logic                  s4_sign_p_q, s4_sign_c_q, s4_c_larger_q;
  logic [8:0]            s4_exp_q;
  special_t              s4_special_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [ShiftWidth-1:0] product = {s3_product_q, 3'b0};
      automatic logic [ShiftWidth-1:0] addend = {1'b0, s3_sig_c_q, 26'b0};
      automatic logic [ShiftWidth-1:0] lesser = s3_c_larger_q ? product : addend;
      automatic logic [ShiftWidth-1:0] kept = lesser;
      automatic logic sticky = 1'b0;

      // Each step of the shifter knows what it shifts out.
      for (int k = 5; k >= 0; k--) begin
        if (s3_shift_q[k]) begin
          for (int i = 0; i < 1 << k; i++) sticky = sticky | kept[i];
          kept = kept >> (1 << k);
        end
      end
      s4_small_q <= {1'b0, kept, sticky};
      s4_large_q <= {1'b0, s3_c_larger_q ? addend : product, 1'b0};
      s4_sign_p_q <= s3_sign_p_q;
      s4_sign_c_q <= s3_sign_c_q;
      s4_c_larger_q <= s3_c_larger_q;
      s4_exp_q <= s3_exp_q;
      s4_special_q <= s3_special_q;
    end
  end

  // Stage 5: add or subtract.

  logic [FrameWidth-1:0] s5_sum_q;    // magnitude
  logic [5:0]            s5_most_q;   // a normalising shift is no longer than that (subnormals)
  logic                  s5_sign_q;   // of a non-zero sum
  logic                  s5_zero_sign_q;
  logic [8:0]            s5_exp_q;
  special_t              s5_special_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic subtract = s4_sign_p_q ^ s4_sign_c_q;
      // One carry chain for sum and difference, its carry in at a place below; the other one for
      // the opposite difference. Neither operand has the highest bit: it is the difference's sign.
      automatic logic [FrameWidth-1:0] other = s4_small_q ^ {FrameWidth{subtract}};
      automatic logic [FrameWidth:0] sum = {s4_large_q, 1'b1} + {other, subtract};
      automatic logic [FrameWidth-1:0] small_minus = s4_small_q - s4_large_q;
      automatic logic small_above = sum[FrameWidth];

      s5_sum_q <= subtract && small_above ? small_minus : sum[FrameWidth:1];
      s5_most_q <= s4_exp_q > 9'd62 ? 6'd63 : s4_exp_q[5:0] + 6'd1;
      s5_sign_q <= subtract && (small_above ^ s4_c_larger_q) ? s4_sign_c_q : s4_sign_p_q;
      s5_zero_sign_q <= s4_sign_p_q && s4_sign_c_q;  // exact cancellation gives +0
      s5_exp_q <= s4_exp_q;
      s5_special_q <= s4_special_q;
    end
  end

  // Stage 6: how far to normalise: no further than the exponent of the smallest normal number.

  logic [FrameWidth-1:0] s6_sum_q;
  logic [5:0]            s6_shift_q;
  logic                  s6_sign_q, s6_zero_q, s6_nan_q, s6_inf_q;
  logic [8:0]            s6_exp_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic zero = s5_sum_q == '0;
      automatic logic [5:0] leading = lzc64({s5_sum_q, 11'b0});

      s6_sum_q <= s5_sum_q;
      s6_shift_q <= leading < s5_most_q ? leading : s5_most_q;
      s6_sign_q <= s5_special_q.inf ? s5_special_q.inf_sign : zero ? s5_zero_sign_q : s5_sign_q;
      s6_zero_q <= zero;
      s6_nan_q <= s5_special_q.nan;
      s6_inf_q <= s5_special_q.inf;
      s6_exp_q <= s5_exp_q;
    end
  end

  // Stage 7: normalise. Each step of the shifter keeps the 25 places that are wanted and as many
  // more as the steps behind it may still shift up; what is dropped can only tell that the result
  // is not exact.

  logic [24:0]          s7_sig_q;     // 24 bits and the round bit
  logic [5:0]           s7_sticky_q;  // did a step drop anything?
  logic [9:0]           s7_exp_q;     // of a significand with a leading bit; else it counts as 0
  logic                 s7_sign_q, s7_zero_q, s7_nan_q, s7_inf_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [FrameWidth-1:0] normal = s6_sum_q;

      for (int k = 5; k >= 0; k--) begin
        s7_sticky_q[k] <= 1'b0;
        if (s6_shift_q[k]) normal = normal << (1 << k);
        // Places 0.. below `dropped` cannot come up any more.
        for (int i = 0; i < FrameWidth; i++) begin
          if (i < int'(FrameWidth) - 25 - (1 << k) + 1) begin
            if (normal[i]) s7_sticky_q[k] <= 1'b1;
            normal[i] = 1'b0;
          end
        end
      end
      s7_sig_q <= normal[FrameWidth-1-:25];
      s7_exp_q <= 10'(s6_exp_q) + 10'd2 - 10'(s6_shift_q);
      s7_sign_q <= s6_sign_q;
      s7_zero_q <= s6_zero_q;
      s7_nan_q <= s6_nan_q;
      s7_inf_q <= s6_inf_q;
    end
  end

  // Stage 8: round and pack. A carry out of the significand moves into the exponent by itself.

  logic [31:0] s8_y_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic round_up = s7_sig_q[0] && (s7_sticky_q != '0 || s7_sig_q[1]);
      automatic logic [9:0] exponent = s7_sig_q[24] ? s7_exp_q : '0;
      automatic logic [32:0] packed_y = {exponent, s7_sig_q[23:1]} + 33'(round_up);

      if (s7_nan_q) begin
        s8_y_q <= QuietNan;
      end else if (s7_inf_q) begin
        s8_y_q <= {s7_sign_q, InfMagnitude};
      end else if (s7_zero_q) begin
        s8_y_q <= {s7_sign_q, 31'b0};
      end else if (packed_y[32:23] >= 10'd255) begin
        s8_y_q <= {s7_sign_q, InfMagnitude};
      end else begin
        s8_y_q <= {s7_sign_q, packed_y[30:0]};
      end
    end
  end

  assign y_o = s8_y_q;

endmodule
