// Signed 32-bit integer to IEEE 754 binary32, rounded to nearest even.
//
// One result per cycle: y_o follows x_i by fp32_pkg::FromIntLatency clock edges at which en_i is
// high. No valid bit inside, no reset of the data registers.

module int_to_fp32
  import fp32_pkg::*;
#(
  localparam int unsigned LATENCY = FromIntLatency
) (
  input  logic        clk_i,
  input  logic        en_i,

  input  logic [31:0] x_i,  // two's complement
  output logic [31:0] y_o
);

  if (LATENCY != 3) begin : gen_latency_check
    $error("int_to_fp32 has 3 stages, fp32_pkg::FromIntLatency says %0d", LATENCY);
  end

  // Stage 1: magnitude.

  logic        s1_sign_q;
  logic [31:0] s1_magnitude_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s1_sign_q <= x_i[31];
      s1_magnitude_q <= x_i[31] ? -x_i : x_i;
    end
  end

  // Stage 2: leading zeros.

  logic        s2_sign_q;
  logic [31:0] s2_magnitude_q;
  logic [4:0]  s2_shift_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s2_sign_q <= s1_sign_q;
      s2_magnitude_q <= s1_magnitude_q;
      s2_shift_q <= 5'(lzc64({s1_magnitude_q, 32'b0}));
    end
  end

  // Stage 3: normalise, round, pack.

  logic [31:0] s3_y_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [31:0] normal = s2_magnitude_q << s2_shift_q;
      automatic logic round_up = normal[7] && (normal[6:0] != '0 || normal[8]);
      // 31 integer places above 2^0; the leading bit is not stored: only 0 has none.
      automatic logic [7:0] exponent = 8'd158 - 8'(s2_shift_q);
      automatic logic [30:0] packed_y = {exponent, normal[30:8]} + 31'(round_up);

      s3_y_q <= normal[31] ? {s2_sign_q, packed_y} : '0;
    end
  end

  assign y_o = s3_y_q;

endmodule
