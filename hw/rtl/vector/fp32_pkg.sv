// Constants and bit-level helpers shared by the IEEE 754 binary32 units.
//
// The latencies are constants here, not module parameters, because whoever wires the units together
// (the vector pipeline, its cycle model) has to know them before elaboration.

package fp32_pkg;

  // Waived: each user of a package reads only some of its constants.
  // verilator lint_off UNUSEDPARAM

  // Enabled clock edges from operands to result.
  localparam int unsigned FmaLatency = 8;
  localparam int unsigned FromIntLatency = 3;
  localparam int unsigned ToIntLatency = 2;

  localparam logic [31:0] QuietNan = 32'h7fc0_0000;
  localparam logic [30:0] InfMagnitude = 31'h7f80_0000;

  // verilator lint_on UNUSEDPARAM

  // Number of leading zeros; of the operand 0: 63. First the zero count of each group of 4 bits,
  // then the first group that is not zero, in two steps: 5 levels of logic.
  function automatic logic [5:0] lzc64(input logic [63:0] value);
    logic [15:0]      zero;    // group of 4 bits, from the top
    logic [15:0][1:0] place;   // leading zeros of a group
    logic [2:0]       zero16;  // groups of 16 bits, the last one does not count
    logic [3:0][3:0]  place16;
    logic [1:0]       first;
    for (int unsigned g = 0; g < 16; g++) begin
      automatic logic [3:0] group = value[60-4*g +: 4];
      zero[g] = group == '0;
      place[g] = {group[3:2] == '0, !group[3] && (group[2] || !group[1])};
    end
    for (int unsigned h = 0; h < 4; h++) begin
      automatic logic [1:0] at = !zero[4*h] ? 2'd0 : !zero[4*h+1] ? 2'd1 : !zero[4*h+2] ? 2'd2
                                 : 2'd3;
      if (h < 3) zero16[h] = zero[4*h +: 4] == '1;
      place16[h] = {at, place[4*h+32'(at)]};
    end
    first = !zero16[0] ? 2'd0 : !zero16[1] ? 2'd1 : !zero16[2] ? 2'd2 : 2'd3;
    return {first, place16[first]};
  endfunction

endpackage
