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

  // Stages 2 and 3: normalise. Leading zeros are taken away by halves: are there 16, then of what
  // is left 8, 4, 2, 1?

  logic        s2_sign_q;
  logic [31:0] s2_magnitude_q;  // at most three leading zeros
  logic [2:0]  s2_shift_q;      // in steps of four

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [31:0] normal = s1_magnitude_q;
      automatic logic [2:0]  shift;
      shift[2] = normal[31:16] == '0;
      if (shift[2]) normal = {normal[15:0], 16'b0};
      shift[1] = normal[31:24] == '0;
      if (shift[1]) normal = {normal[23:0], 8'b0};
      shift[0] = normal[31:28] == '0;
      if (shift[0]) normal = {normal[27:0], 4'b0};

      s2_sign_q <= s1_sign_q;
      s2_magnitude_q <= normal;
      s2_shift_q <= shift;
    end
  end

  // Stage 3: round, pack.

  logic [31:0] s3_y_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [31:0] normal = s2_magnitude_q;
      automatic logic [1:0]  shift;
      // verilator lint_off UNUSEDSIGNAL
      automatic logic [31:0] sum;
      // verilator lint_on UNUSEDSIGNAL
      automatic logic        round_up;
      shift[1] = normal[31:30] == '0;
      if (shift[1]) normal = {normal[29:0], 2'b0};
      shift[0] = !normal[31];
      if (shift[0]) normal = {normal[30:0], 1'b0};
      round_up = normal[7] && (normal[6:0] != '0 || normal[8]);
      // The exponent is 127 + 31 - shift, and 31 - shift = ~shift; the leading bit is not stored:
      // only 0 has none. The lowest bit of the sum makes the carry that rounds.
      sum = {8'd127, 23'b0, 1'b1} + {3'b0, ~{s2_shift_q, shift}, normal[30:8], round_up};

      s3_y_q <= normal[31] ? {s2_sign_q, sum[31:1]} : '0;
    end
  end

  assign y_o = s3_y_q;

endmodule
