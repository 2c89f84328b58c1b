// Constants and bit-level helpers shared by the IEEE 754 binary32 units.
//
// The latencies are constants here, not module parameters, because whoever wires the units together
// (the vector pipeline, its cycle model) has to know them before elaboration.

package fp32_pkg;

  // Waived: each user of a package reads only some of its constants.
  // verilator lint_off UNUSEDPARAM

  // Enabled clock edges from operands to result.
  localparam int unsigned FmaLatency = 5;
  localparam int unsigned FromIntLatency = 1;
  localparam int unsigned ToIntLatency = 1;

  localparam logic [31:0] QuietNan = 32'h7fc0_0000;
  localparam logic [30:0] InfMagnitude = 31'h7f80_0000;

  // verilator lint_on UNUSEDPARAM

  // Number of leading zeros; the operand must not be zero (then the result is the width minus one).
  // A binary search: log2(width) steps in simulation, log-depth logic in hardware.
  function automatic logic [5:0] lzc64(input logic [63:0] value);
    logic [63:0] rest;
    logic [5:0] count;
    rest = value;
    count[5] = rest[63:32] == '0;
    if (count[5]) rest = rest << 32;
    count[4] = rest[63:48] == '0;
    if (count[4]) rest = rest << 16;
    count[3] = rest[63:56] == '0;
    if (count[3]) rest = rest << 8;
    count[2] = rest[63:60] == '0;
    if (count[2]) rest = rest << 4;
    count[1] = rest[63:62] == '0;
    if (count[1]) rest = rest << 2;
    count[0] = !rest[63];
    return count;
  endfunction

  function automatic logic [4:0] lzc32(input logic [31:0] value);
    logic [31:0] rest;
    logic [4:0] count;
    rest = value;
    count[4] = rest[31:16] == '0;
    if (count[4]) rest = rest << 16;
    count[3] = rest[31:24] == '0;
    if (count[3]) rest = rest << 8;
    count[2] = rest[31:28] == '0;
    if (count[2]) rest = rest << 4;
    count[1] = rest[31:30] == '0;
    if (count[1]) rest = rest << 2;
    count[0] = !rest[31];
    return count;
  endfunction

endpackage
