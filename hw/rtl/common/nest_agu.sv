// Affine address of a loop nest, without multipliers: base + sum over levels of index * stride,
// modulo 2^Width.
//
// steps_i has for each level what its step adds: its stride less what the levels inside it, which
// go back to index 0, have added (dataflow/machine/steps.py). value_o follows the indices of a
// loop_nest that is loaded and stepped in the same cycles; behind the last iteration it means
// nothing. base_i is read with load_i, steps_i with step_i.

module nest_agu #(
  parameter  int unsigned Width  = 24,
  parameter  int unsigned Levels = 6,
  localparam int unsigned LevelW = $clog2(Levels)
) (
  input  logic                         clk_i,

  input  logic                         load_i,
  input  logic [Width-1:0]             base_i,
  input  logic [Levels-1:0][Width-1:0] steps_i,
  input  logic                         step_i,
  input  logic [LevelW-1:0]            level_i,

  output logic [Width-1:0]             value_o
);

  if (Levels < 2) begin : gen_levels_check
    $error("nest_agu needs at least 2 levels, not %0d", Levels);
  end

  logic [Width-1:0] value_q;

  assign value_o = value_q;

  // No reset: load_i comes before any use.
  always_ff @(posedge clk_i) begin
    if (load_i) value_q <= base_i;
    else if (step_i) value_q <= value_q + steps_i[level_i];
  end

`ifndef SYNTHESIS
  // Who drives this is random before its reset: nothing counts in the first cycles.
  logic [1:0] cycles_q;
  initial cycles_q = '0;
  always_ff @(posedge clk_i) if (cycles_q != '1) cycles_q <= cycles_q + 2'd1;

  level_exists: assert property (@(posedge clk_i)
    cycles_q == '1 && step_i && !load_i |-> 32'(level_i) < Levels)
    else $error("nest_agu: level %0d steps, there are %0d", level_i, Levels);
`endif

endmodule
