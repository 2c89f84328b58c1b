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
// enable is low, and synthesis sees the same registers as with separate next-state signals.

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
  output logic [31:0] y_o
);

  localparam int unsigned FrameWidth = 53;  // carry, 48 product bits, 3 guard bits, sticky

  if (LATENCY != 5) begin : gen_latency_check
    $error("fp32_fma has 5 stages, fp32_pkg::FmaLatency says %0d", LATENCY);
  end

  // Stage 1: unpack; exponent difference; special operands.

  logic [23:0] s1_sig_a_q, s1_sig_b_q, s1_sig_c_q;
  logic        s1_sign_p_q, s1_sign_c_q;
  logic        s1_c_larger_q;       // exponent of C above that of P
  logic [8:0]  s1_distance_q;       // absolute exponent difference
  logic [8:0]  s1_exp_q;            // larger of the two exponents, biased, at least 1
  logic        s1_nan_q, s1_inf_q, s1_inf_sign_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic a_sub = a_i[30:23] == '0;
      automatic logic b_sub = b_i[30:23] == '0;
      automatic logic c_sub = c_i[30:23] == '0;
      automatic logic a_max = a_i[30:23] == '1;
      automatic logic b_max = b_i[30:23] == '1;
      automatic logic c_max = c_i[30:23] == '1;
      automatic logic a_zero = a_sub && a_i[22:0] == '0;
      automatic logic b_zero = b_sub && b_i[22:0] == '0;
      automatic logic p_zero = a_zero || b_zero;
      automatic logic nan_operand = (a_max && a_i[22:0] != '0) || (b_max && b_i[22:0] != '0)
                                    || (c_max && c_i[22:0] != '0);
      automatic logic sign_p = a_i[31] ^ b_i[31];
      automatic logic p_inf = a_max || b_max;  // where no NaN is involved
      // Biased exponents; a subnormal has that of the smallest normal number.
      automatic logic signed [10:0] exp_p = 11'(a_i[30:23]) + 11'(a_sub) + 11'(b_i[30:23])
                                            + 11'(b_sub) - 11'sd127;
      automatic logic signed [10:0] exp_c = 11'(c_i[30:23]) + 11'(c_sub);
      automatic logic signed [10:0] difference = exp_p - exp_c;

      s1_sig_a_q <= {!a_sub, a_i[22:0]};
      s1_sig_b_q <= {!b_sub, b_i[22:0]};
      s1_sig_c_q <= {!c_sub, c_i[22:0]};
      s1_sign_p_q <= sign_p;
      s1_sign_c_q <= c_i[31];
      s1_c_larger_q <= difference < 0;
      // A zero product must not push the addend out of the frame, whatever its factors' exponents.
      s1_distance_q <= p_zero ? '0 : difference < 0 ? 9'(-difference) : 9'(difference);
      s1_exp_q <= p_zero || difference < 0 ? exp_c[8:0] : exp_p[8:0];
      s1_nan_q <= nan_operand || (a_max && b_zero) || (b_max && a_zero)
                  || (p_inf && c_max && sign_p != c_i[31]);
      s1_inf_q <= p_inf || c_max;
      s1_inf_sign_q <= p_inf ? sign_p : c_i[31];
    end
  end

  // Stage 2: multiply; align the addend when the product has the larger exponent.

  logic [47:0]           s2_product_q;
  logic [FrameWidth-1:0] s2_addend_q;
  logic                  s2_sign_p_q, s2_sign_c_q;
  logic                  s2_c_larger_q;
  logic [8:0]            s2_distance_q;
  logic [8:0]            s2_exp_q;
  logic                  s2_nan_q, s2_inf_q, s2_inf_sign_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      // 26 places (23 below the addend in the product, 3 guard bits) lose nothing; beyond 50
      // nothing but the sticky bit is left.
      automatic logic [8:0] shift = s1_c_larger_q ? '0 : s1_distance_q;
      automatic logic [49:0] wide = {s1_sig_c_q, 26'b0};
      automatic logic [49:0] kept = shift > 9'd50 ? '0 : wide >> shift[5:0];
      automatic logic [23:0] low_mask = shift < 9'd26 ? '0
                                        : shift > 9'd50 ? '1 : ~(24'hff_ffff << (shift - 9'd26));

      s2_product_q <= 48'(s1_sig_a_q) * 48'(s1_sig_b_q);
      s2_addend_q <= {2'b0, kept, (s1_sig_c_q & low_mask) != '0};
      s2_sign_p_q <= s1_sign_p_q;
      s2_sign_c_q <= s1_sign_c_q;
      s2_c_larger_q <= s1_c_larger_q;
      s2_distance_q <= s1_distance_q;
      s2_exp_q <= s1_exp_q;
      s2_nan_q <= s1_nan_q;
      s2_inf_q <= s1_inf_q;
      s2_inf_sign_q <= s1_inf_sign_q;
    end
  end

  // Stage 3: align the product when the addend has the larger exponent; add or subtract.

  logic [FrameWidth-1:0] s3_sum_q;    // magnitude
  logic [FrameWidth-1:0] s3_floor_q;  // one bit set: a normalising shift stops there (subnormals)
  logic                  s3_sign_q;   // of a non-zero sum
  logic                  s3_zero_sign_q;
  logic [8:0]            s3_exp_q;
  logic                  s3_nan_q, s3_inf_q, s3_inf_sign_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [8:0] shift = s2_c_larger_q ? s2_distance_q : '0;
      automatic logic [50:0] wide = {s2_product_q, 3'b0};
      automatic logic [50:0] kept = shift > 9'd50 ? '0 : wide >> shift[5:0];
      automatic logic [50:0] low_mask = shift > 9'd50 ? '1 : ~(51'h7_ffff_ffff_ffff << shift[5:0]);
      automatic logic [FrameWidth-1:0] product = {1'b0, kept, (wide & low_mask) != '0};
      automatic logic subtract = s2_sign_p_q ^ s2_sign_c_q;
      // Both differences at once instead of a conditional negation behind the subtraction.
      automatic logic [FrameWidth-1:0] p_minus_c = product - s2_addend_q;
      automatic logic [FrameWidth-1:0] c_minus_p = s2_addend_q - product;
      automatic logic c_above = product < s2_addend_q;

      s3_sum_q <= !subtract ? product + s2_addend_q : c_above ? c_minus_p : p_minus_c;
      s3_floor_q <= {1'b1, {(FrameWidth - 1) {1'b0}}} >> (10'(s2_exp_q) + 10'd1);
      s3_sign_q <= subtract && c_above ? s2_sign_c_q : s2_sign_p_q;
      s3_zero_sign_q <= s2_sign_p_q && s2_sign_c_q;  // exact cancellation gives +0
      s3_exp_q <= s2_exp_q;
      s3_nan_q <= s2_nan_q;
      s3_inf_q <= s2_inf_q;
      s3_inf_sign_q <= s2_inf_sign_q;
    end
  end

  // Stage 4: normalise, no further than the exponent of the smallest normal number.

  logic [24:0] s4_sig_q;     // 24 bits and the round bit
  logic        s4_sticky_q;
  logic [9:0]  s4_exp_q;     // biased, minus one: the leading bit of the significand adds it
  logic        s4_sign_q, s4_zero_q;
  logic        s4_nan_q, s4_inf_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [5:0] shift = lzc64({s3_sum_q | s3_floor_q, 11'b0});
      automatic logic [FrameWidth-1:0] normal = s3_sum_q << shift;
      automatic logic zero = s3_sum_q == '0;

      s4_sig_q <= normal[FrameWidth-1-:25];
      s4_sticky_q <= normal[FrameWidth-26:0] != '0;
      s4_exp_q <= 10'(s3_exp_q) + 10'd1 - 10'(shift);
      s4_sign_q <= s3_inf_q ? s3_inf_sign_q : zero ? s3_zero_sign_q : s3_sign_q;
      s4_zero_q <= zero;
      s4_nan_q <= s3_nan_q;
      s4_inf_q <= s3_inf_q;
    end
  end

  // Stage 5: round and pack. A carry out of the significand moves into the exponent by itself.

  logic [31:0] s5_y_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic round_up = s4_sig_q[0] && (s4_sticky_q || s4_sig_q[1]);
      automatic logic [32:0] packed_y = {s4_exp_q, 23'b0} + 33'(s4_sig_q[24:1]) + 33'(round_up);

      if (s4_nan_q) begin
        s5_y_q <= QuietNan;
      end else if (s4_inf_q) begin
        s5_y_q <= {s4_sign_q, InfMagnitude};
      end else if (s4_zero_q) begin
        s5_y_q <= {s4_sign_q, 31'b0};
      end else if (packed_y[32:23] >= 10'd255) begin
        s5_y_q <= {s4_sign_q, InfMagnitude};
      end else begin
        s5_y_q <= {s4_sign_q, packed_y[30:0]};
      end
    end
  end

  assign y_o = s5_y_q;

endmodule
