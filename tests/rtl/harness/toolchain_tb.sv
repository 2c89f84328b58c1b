// A job for the toolchain tests: counts LENGTH cycles after start, then raises done.

module toolchain_tb #(
  parameter int unsigned LENGTH = 100,
  parameter string GREETING = "none"
) (
  input  logic clk,
  input  logic start,
  output logic done,
  output logic [31:0] count
);

  logic [31:0] hidden_q;

  initial begin
    hidden_q = '0;
    done = 1'b0;
    $display("greeting: %s", GREETING);
  end

  always_ff @(posedge clk) begin
    if (start || hidden_q != '0) hidden_q <= hidden_q == LENGTH ? '0 : hidden_q + 1;
    done <= hidden_q == LENGTH;
  end

  assign count = hidden_q;

endmodule
