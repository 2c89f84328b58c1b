// The function stage: exp2 with a scale, reciprocal, 1 / sqrt, log2, erf of IEEE 754 binary32.
//
// Bit for bit `apply` of dataflow/evaluate/functions/stage.py, which states what each function does
// with zeros, infinities, NaNs and subnormals. One result per cycle; y_o follows the operands by
// fp32_function_pkg::FunctionLatency clock edges at which en_i is high. No valid bits, no reset of
// the data registers. FunctionIdentity is not made here (a vector unit goes around the stage); the
// result of it and of free codes is not specified.
//
// A function's argument becomes a place in its table: a row, and d, the steps behind its start.
// P = c0 + floor(((c1 << InnerShift) + c2 * d) * d >> ProductShift) is exact up to that floor. A
// result is P, or exponent + P (log2), normalised once and rounded once, halves away from zero.
// Multipliers: 12 x 18, and two of 18 x 18 for the halves of the inner sum. The table is a
// read-only memory of 512 words whose read data is registered twice.

module fp32_function
  import fp32_pkg::*;
  import fp32_function_pkg::*;
#(
  localparam int unsigned LATENCY = FunctionLatency
) (
  input  logic              clk_i,
  input  logic              en_i,  // advances the whole pipeline

  input  logic [2:0]        function_i,  // function_e
  input  logic [31:0]       x_i,
  input  logic signed [9:0] scale_i,  // exp2: added to the exponent
  output logic [31:0]       y_o
);

  localparam int unsigned ExpW = 11;         // of an exponent with a scale, signed
  localparam int unsigned PlaceW = StepBits + 7;
  localparam int unsigned FixedW = 8 + StepFraction;
  localparam int unsigned BendW = C2Bits + StepBits;
  localparam int unsigned InnerW = 35;
  localparam int unsigned HalfW = 17;        // low half of the inner sum
  localparam int unsigned FrameW = 36;       // magnitude: 8 integer bits and C0Fraction

  if (LATENCY != 15) begin : gen_latency_check
    $error("fp32_function has 15 stages, FunctionLatency says %0d", LATENCY);
  end
  if (C1Bits + InnerShift != InnerW || C0Fraction + 8 != FrameW || StepBits != HalfW)
  begin : gen_width_check
    $error("fp32_function: the table has coefficients of %0d, %0d, %0d bits and steps of %0d",
           C0Bits, C1Bits, C2Bits, StepBits);
  end

  // What a result is when it does not come from the table.
  typedef enum logic [2:0] {
    KindTable,
    KindZero,
    KindOne,
    KindInf,
    KindNan
  } kind_e;

  // Of every stage behind the first.
  typedef struct packed {
    kind_e kind;
    logic  sign;  // of a result that log2 does not make
  } fate_t;

  // Stage 1: unpack; special arguments; distances of the shifts.

  logic [2:0]             s1_function_q;
  logic                   s1_sign_q, s1_sub_q;
  logic [7:0]             s1_field_q;
  logic [22:0]            s1_fraction_q;
  logic [4:0]             s1_zeros_q;  // of a subnormal: places to its leading one
  logic [4:0]             s1_down_q;   // from below 2^8
  logic signed [9:0]      s1_scale_q;
  fate_t                  s1_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic sub = x_i[30:23] == '0;
      automatic logic top = x_i[30:23] == '1;
      automatic logic none = x_i[22:0] == '0;
      automatic logic zero = sub && none;
      automatic logic inf = top && none;
      automatic logic [4:0] down = 5'd6 - x_i[27:23];  // 134 - exponent
      automatic kind_e kind = KindTable;
      automatic logic sign = 1'b0;

      unique case (function_i)
        FunctionExp2: if (x_i[30:23] > 8'd134) kind = x_i[31] ? KindZero : KindInf;
        FunctionErf: begin
          sign = x_i[31];
          if (x_i[30:23] > 8'd128) kind = KindOne;
        end
        FunctionReciprocal: begin
          sign = x_i[31];
          if (zero) kind = KindInf;
          else if (inf) kind = KindZero;
        end
        FunctionRsqrt: begin
          if (zero) begin
            kind = KindInf;
            sign = x_i[31];
          end else if (x_i[31]) begin
            kind = KindNan;
          end else if (inf) begin
            kind = KindZero;
          end
        end
        default: begin  // log2
          if (zero) begin
            kind = KindInf;
            sign = 1'b1;
          end else if (x_i[31]) begin
            kind = KindNan;
          end else if (inf) begin
            kind = KindInf;
          end
        end
      endcase
      if (top && !none) kind = KindNan;

      s1_function_q <= function_i;
      s1_sign_q <= x_i[31];
      s1_sub_q <= sub;
      s1_field_q <= x_i[30:23];
      s1_fraction_q <= x_i[22:0];
      s1_zeros_q <= 5'(lzc64({1'b0, x_i[22:0], 40'b0}));
      s1_down_q <= x_i[30:23] < 8'd103 ? 5'd31 : down;
      s1_scale_q <= scale_i;
      s1_fate_q <= '{kind: kind, sign: sign};
    end
  end

  // Stage 2: fixed point for exp2 and erf; the leading one of subnormals for the others.

  logic [2:0]             s2_function_q;
  logic                   s2_sign_q;
  logic [FixedW-1:0]      s2_fixed_q;
  logic [22:0]            s2_fraction_q;
  logic signed [9:0]      s2_exp_q, s2_scale_q;
  fate_t                  s2_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s2_function_q <= s1_function_q;
      s2_sign_q <= s1_sign_q;
      s2_fixed_q <= {!s1_sub_q, s1_fraction_q, 7'b0} >> s1_down_q;
      s2_fraction_q <= s1_sub_q ? s1_fraction_q << s1_zeros_q : s1_fraction_q;
      s2_exp_q <= s1_sub_q ? -10'sd126 - 10'(s1_zeros_q) : 10'(s1_field_q) - 10'sd127;
      s2_scale_q <= s1_scale_q;
      s2_fate_q <= s1_fate_q;
    end
  end

  // Stage 3: exp2's argument with its scale; the place in the other tables.

  logic [2:0]                   s3_function_q;
  logic [StepFraction+ExpW-1:0] s3_total_q;
  logic [PlaceW-1:0]            s3_place_q;
  logic signed [ExpW-1:0]       s3_exp_q;
  fate_t                        s3_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [StepFraction+ExpW-1:0] argument = (StepFraction + ExpW)'(s2_fixed_q)
                                                         ^ {(StepFraction + ExpW){s2_sign_q}};
      automatic logic [22:0] low = s2_fixed_q[22:0];

      s3_function_q <= s2_function_q;
      // The lowest place makes the carry into the sum, in the same carry chain.
      s3_total_q <= (StepFraction + ExpW)'(
          ({ExpW'(s2_scale_q), StepFraction'(0), 1'b1} + {argument, s2_sign_q}) >> 1);
      unique case (s2_function_q)
        FunctionErf: begin
          s3_place_q <= s2_fixed_q[24] ? {2'b11, s2_fixed_q[23:2]}
                        : s2_fixed_q[23] ? {2'b10, low[22:1]} : {1'b0, low};
        end
        FunctionRsqrt: s3_place_q <= {s2_exp_q[0], s2_fraction_q};
        FunctionReciprocal: begin  // its rows are half as long
          s3_place_q <= {s2_fraction_q[22:16], 1'b0, s2_fraction_q[15:0]};
        end
        default: s3_place_q <= {1'b0, s2_fraction_q};
      endcase
      unique case (s2_function_q)
        FunctionReciprocal: s3_exp_q <= -ExpW'(s2_exp_q);
        FunctionRsqrt: s3_exp_q <= -ExpW'(s2_exp_q >>> 1);
        FunctionLog2: s3_exp_q <= ExpW'(s2_exp_q);
        default: s3_exp_q <= '0;
      endcase
      s3_fate_q <= s2_fate_q;
    end
  end

  // Stage 4: the row.

  logic [RowBits-1:0]     s4_row_q;
  logic [StepBits-1:0]    s4_d_q;
  logic signed [ExpW-1:0] s4_exp_q;
  logic                   s4_log_q;
  fate_t                  s4_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic exp2 = s3_function_q == FunctionExp2;
      automatic logic [PlaceW-1:0] place = exp2 ? PlaceW'(s3_total_q[StepFraction-1:0])
                                                : s3_place_q;
      automatic logic [RowBits-1:0] first;

      unique case (s3_function_q)
        FunctionExp2: first = RowBits'(Exp2Row);
        FunctionReciprocal: first = RowBits'(ReciprocalRow);
        FunctionRsqrt: first = RowBits'(RsqrtRow);
        FunctionErf: first = RowBits'(ErfRow);
        default: first = RowBits'(Log2Row);
      endcase
      s4_row_q <= first | RowBits'(place[PlaceW-1:StepBits]);
      s4_d_q <= place[StepBits-1:0];
      s4_exp_q <= exp2 ? s3_total_q[StepFraction +: ExpW] : s3_exp_q;
      s4_log_q <= s3_function_q == FunctionLog2;
      s4_fate_q <= s3_fate_q;
    end
  end

  // Stages 5 and 6: the table, registered twice.

  row_t                   s5_row_d, s5_row_q, s6_row_q;
  logic [StepBits-1:0]    s5_d_q, s6_d_q;
  logic signed [ExpW-1:0] s5_exp_q, s6_exp_q;
  logic                   s5_log_q, s6_log_q;
  fate_t                  s5_fate_q, s6_fate_q;

  always_comb s5_row_d = piece(s4_row_q);

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s5_row_q <= s5_row_d;
      s5_d_q <= s4_d_q;
      s5_exp_q <= s4_exp_q;
      s5_log_q <= s4_log_q;
      s5_fate_q <= s4_fate_q;
      s6_row_q <= s5_row_q;
      s6_d_q <= s5_d_q;
      s6_exp_q <= s5_exp_q;
      s6_log_q <= s5_log_q;
      s6_fate_q <= s5_fate_q;
    end
  end

  // Stage 7: c2 * d. Exponent and c0 become one number: an integer part for log2, else zero.

  logic signed [BendW-1:0]  s7_bend_q;
  logic signed [C1Bits-1:0] s7_c1_q;
  logic [StepBits-1:0]      s7_d_q;
  logic signed [FrameW:0]   s7_base_q;
  logic signed [ExpW-1:0]   s7_exp_q;
  logic                     s7_log_q;
  fate_t                    s7_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s7_bend_q <= BendW'(s6_row_q.c2) * BendW'(signed'({1'b0, s6_d_q}));
      s7_c1_q <= s6_row_q.c1;
      s7_d_q <= s6_d_q;
      // c0's integer bit is set where the exponent's bits are not used, and clear in log2's rows.
      s7_base_q <= {s6_log_q ? s6_exp_q[8:0] : 9'(s6_row_q.c0[C0Fraction]),
                    s6_row_q.c0[C0Fraction-1:0]};
      s7_exp_q <= s6_log_q ? '0 : s6_exp_q;
      s7_log_q <= s6_log_q;
      s7_fate_q <= s6_fate_q;
    end
  end

  // Stage 8: the inner sum.

  logic signed [InnerW-1:0] s8_inner_q;
  logic [StepBits-1:0]      s8_d_q;
  logic signed [FrameW:0]   s8_base_q;
  logic signed [ExpW-1:0]   s8_exp_q;
  logic                     s8_log_q;
  fate_t                    s8_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s8_inner_q <= {s7_c1_q, InnerShift'(0)} + InnerW'(s7_bend_q);
      s8_d_q <= s7_d_q;
      s8_base_q <= s7_base_q;
      s8_exp_q <= s7_exp_q;
      s8_log_q <= s7_log_q;
      s8_fate_q <= s7_fate_q;
    end
  end

  // Stage 9: its halves times d.

  logic signed [35:0]     s9_high_q;
  logic [HalfW-1:0]       s9_low_q;  // its upper half: the lower one is behind the floor
  logic signed [FrameW:0] s9_base_q;
  logic signed [ExpW-1:0] s9_exp_q;
  logic                   s9_log_q;
  fate_t                  s9_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s9_high_q <= 36'(signed'(s8_inner_q[InnerW-1:HalfW])) * 36'(signed'({1'b0, s8_d_q}));
      s9_low_q <= HalfW'(((2 * HalfW)'(s8_inner_q[HalfW-1:0]) * (2 * HalfW)'(s8_d_q)) >> HalfW);
      s9_base_q <= s8_base_q;
      s9_exp_q <= s8_exp_q;
      s9_log_q <= s8_log_q;
      s9_fate_q <= s8_fate_q;
    end
  end

  // Stage 10: the product; bits below the floor's place end here.

  localparam int unsigned RiseW = 36 - (ProductShift - HalfW);
  logic signed [RiseW-1:0] s10_rise_q;
  logic signed [FrameW:0]  s10_base_q;
  logic signed [ExpW-1:0]  s10_exp_q;
  logic                    s10_log_q;
  fate_t                   s10_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s10_rise_q <= RiseW'((s9_high_q + 36'(s9_low_q)) >>> (ProductShift - HalfW));
      s10_base_q <= s9_base_q;
      s10_exp_q <= s9_exp_q;
      s10_log_q <= s9_log_q;
      s10_fate_q <= s9_fate_q;
    end
  end

  // Stage 11: the sum's magnitude: both signs at once.

  logic [FrameW-1:0]      s11_magnitude_q;
  logic signed [ExpW-1:0] s11_exp_q;
  fate_t                  s11_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic signed [FrameW:0] rise = (FrameW + 1)'(s10_rise_q);
      automatic logic [FrameW:0] plus = s10_base_q + rise;
      automatic logic [FrameW:0] minus = -s10_base_q - rise;

      // A row's rise never carries log2's fraction over 1: the sign is the exponent's.
      s11_magnitude_q <= FrameW'(s10_base_q[FrameW] ? minus : plus);
      s11_exp_q <= s10_exp_q;
      s11_fate_q <= '{
          kind: s10_fate_q.kind,
          sign: s10_fate_q.sign || (s10_log_q && s10_base_q[FrameW] && plus != '0
                                    && s10_fate_q.kind == KindTable)
      };
    end
  end

  // Stage 12: leading zeros.

  logic [FrameW-1:0]      s12_magnitude_q;
  logic [5:0]             s12_zeros_q;
  logic signed [ExpW-1:0] s12_exp_q;
  fate_t                  s12_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s12_magnitude_q <= s11_magnitude_q;
      s12_zeros_q <= lzc64({s11_magnitude_q, 28'b0});
      s12_exp_q <= s11_exp_q;
      s12_fate_q <= s11_fate_q;
      if (s11_magnitude_q == '0 && s11_fate_q.kind == KindTable) s12_fate_q.kind <= KindZero;
    end
  end

  // Stage 13: normalise: 24 bits and the round bit. The exponent field minus one, both signs.

  logic [24:0]          s13_kept_q;
  logic signed [ExpW:0] s13_field_q, s13_down_q;
  fate_t                s13_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s13_kept_q <= 25'((s12_magnitude_q << s12_zeros_q) >> (FrameW - 25));
      s13_field_q <= (ExpW + 1)'(s12_exp_q) + 12'sd133 - (ExpW + 1)'(s12_zeros_q);
      s13_down_q <= (ExpW + 1)'(s12_zeros_q) - 12'sd133 - (ExpW + 1)'(s12_exp_q);
      s13_fate_q <= s12_fate_q;
    end
  end

  // Stage 14: subnormal results.

  logic [24:0] s14_kept_q;
  logic [7:0]  s14_field_q;
  fate_t       s14_fate_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic below = s13_field_q < 0;

      s14_kept_q <= !below ? s13_kept_q : s13_down_q > 31 ? '0 : s13_kept_q >> s13_down_q[4:0];
      s14_field_q <= below ? '0 : s13_field_q[7:0];
      s14_fate_q <= s13_fate_q;
      if (s13_field_q > 253 && s13_fate_q.kind == KindTable) s14_fate_q.kind <= KindInf;
    end
  end

  // Stage 15: round and pack. A carry out of the significand moves into the exponent by itself, and
  // is an infinity there when it has to be.

  logic [31:0] s15_y_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [30:0] packed_y = {s14_field_q, 23'b0} + 31'(s14_kept_q[24:1])
                                        + 31'(s14_kept_q[0]);

      unique case (s14_fate_q.kind)
        KindZero: s15_y_q <= {s14_fate_q.sign, 31'b0};
        KindOne: s15_y_q <= {s14_fate_q.sign, 31'h3f80_0000};
        KindInf: s15_y_q <= {s14_fate_q.sign, InfMagnitude};
        KindNan: s15_y_q <= QuietNan;
        default: s15_y_q <= {s14_fate_q.sign, packed_y};
      endcase
    end
  end

  assign y_o = s15_y_q;

endmodule
