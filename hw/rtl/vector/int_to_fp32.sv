// Signed 32-bit integer to IEEE 754 binary32, rounded to nearest even.
//
// One result per cycle, registered: y_o follows x_i by fp32_pkg::FromIntLatency clock edges at
// which en_i is high. No valid bit inside, no reset of the data register.

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

  if (LATENCY != 1) begin : gen_latency_check
    $error("int_to_fp32 has 1 stage, fp32_pkg::FromIntLatency says %0d", LATENCY);
  end

  logic [31:0] y_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      automatic logic [31:0] magnitude = x_i[31] ? -x_i : x_i;
      automatic logic [4:0] shift = lzc32(magnitude);
      automatic logic [31:0] normal = magnitude << shift;
      automatic logic round_up = normal[7] && (normal[6:0] != '0 || normal[8]);
      // 31 integer places above 2^0; one less because the leading bit adds one to the exponent.
      automatic logic [7:0] exponent = 8'd157 - 8'(shift);
      automatic logic [30:0] packed_y = {exponent, 23'b0} + 31'(normal[31:8]) + 31'(round_up);

      y_q <= magnitude == '0 ? '0 : {x_i[31], packed_y};
    end
  end

  assign y_o = y_q;

endmodule
