// Affine address of a loop nest, without multipliers: base + sum over levels of index * stride,
// modulo 2^Width.
//
// A step of level l adds its stride to the sum over the levels up to l, which is then also the sum
// of every deeper level, whose indices return to 0. So one sum changes with a step, and it is
// value_o: it follows the indices of a loop_nest that is loaded and stepped in the same cycles, and
// that tells in from_i which level's step made the sum that the stepping level has (0: the load).
// base_i is read with load_i, strides_i with step_i. The sums are LUT RAM.

module nest_agu #(
  parameter  int unsigned Width  = 24,
  parameter  int unsigned Levels = 6,
  localparam int unsigned LevelW = $clog2(Levels)
) (
  input  logic                         clk_i,

  input  logic                         load_i,
  input  logic [Width-1:0]             base_i,
  input  logic [Levels-1:0][Width-1:0] strides_i,
  input  logic                         step_i,
  input  logic [LevelW-1:0]            level_i,
  input  logic [LevelW-1:0]            from_i,

  output logic [Width-1:0]             value_o
);

  if (Levels < 2) begin : gen_levels_check
    $error("nest_agu needs at least 2 levels, not %0d", Levels);
  end

  logic [Width-1:0] sum_q [Levels];  // by the level whose step, or 0: the load, made it
  logic [Width-1:0] value_q, value_d;

  assign value_d = load_i ? base_i : sum_q[from_i] + strides_i[level_i];
  assign value_o = value_q;

  // No reset: load_i comes before any use.
  always_ff @(posedge clk_i) begin
    if (load_i || step_i) begin
      value_q <= value_d;
      sum_q[load_i ? '0 : level_i] <= value_d;
    end
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
