// Tile loops of an engine, level 0 outermost: where each level stands, and which one steps next.
//
// load_i sets every index to 0; step_i advances to the next iteration (an odometer). Both take
// effect at the clock edge; first_o and last_o are registers. new_trips_i is read with load_i,
// trips_i (the same numbers) with step_i. Each trip count is at least 1. A step in the last
// iteration returns every index to 0.

module loop_nest #(
  parameter  int unsigned Levels = 6,
  parameter  int unsigned Width  = 16,
  localparam int unsigned LevelW = $clog2(Levels)
) (
  input  logic                         clk_i,

  input  logic                         load_i,
  input  logic [Levels-1:0][Width-1:0] new_trips_i,
  input  logic [Levels-1:0][Width-1:0] trips_i,
  input  logic                         step_i,

  output logic [Levels-1:0]            first_o,     // index == 0
  output logic [Levels-1:0]            last_o,      // index == trips - 1
  output logic                         all_last_o,  // this is the last iteration
  output logic [LevelW-1:0]            level_o      // the level that a step increments: the deepest
                                                    // one not at its last index (0 when all are)
);

  if (Levels < 2) begin : gen_levels_check
    $error("loop_nest needs at least 2 levels, not %0d", Levels);
  end

  logic [Levels-1:0][Width-1:0]  next_q;  // index + 1
  logic [Levels-1:0]             first_q, last_q;
  logic [Levels-1:0]             once_q;  // one trip

  always_comb begin
    level_o = '0;
    for (int unsigned l = 0; l < Levels; l++) begin
      if (!last_q[l]) level_o = LevelW'(l);
    end
  end

  assign first_o = first_q;
  assign last_o = last_q;
  assign all_last_o = &last_q;

  // The last index is found out a step ahead: who asks for it decides in the same cycle what to do.
  // No reset: load_i comes before any use.
  always_ff @(posedge clk_i) begin
    for (int unsigned l = 0; l < Levels; l++) begin
      automatic logic [Width-1:0] next = next_q[l] + Width'(1);
      automatic logic once = new_trips_i[l] == Width'(1);
      if (load_i) once_q[l] <= once;
      if (load_i || (step_i && (LevelW'(l) > level_o || all_last_o))) begin
        next_q[l] <= Width'(1);
        first_q[l] <= 1'b1;
        last_q[l] <= load_i ? once : once_q[l];
      end else if (step_i && LevelW'(l) == level_o) begin
        next_q[l] <= next;
        first_q[l] <= 1'b0;
        last_q[l] <= next == trips_i[l];
      end
    end
  end

`ifdef FORMAL
  // Proved by induction (tests/formal), for trips that stand from the load on: what the registers
  // say of first and last is true, and no index passes its last one.
  logic                         f_loaded_q;
  logic [Levels-1:0][Width-1:0] f_trips_q;

  initial f_loaded_q = 1'b0;

  always @(posedge clk_i) begin
    if (load_i) begin
      f_loaded_q <= 1'b1;
      f_trips_q <= new_trips_i;
    end
    for (int unsigned l = 0; l < Levels; l++) assume (new_trips_i[l] != '0);
    if (f_loaded_q) begin
      assume (trips_i == f_trips_q);
      for (int unsigned l = 0; l < Levels; l++) begin
        assert (f_trips_q[l] != '0);
        assert (next_q[l] != '0 && next_q[l] <= f_trips_q[l]);
        assert (first_o[l] == (next_q[l] == Width'(1)));
        assert (last_o[l] == (next_q[l] == f_trips_q[l]));
        assert (once_q[l] == (f_trips_q[l] == Width'(1)));
      end
    end
  end
`elsif SYNTHESIS
`else
  // Who drives this is random before its reset: nothing counts in the first cycles.
  logic [1:0] cycles_q;
  initial cycles_q = '0;
  always_ff @(posedge clk_i) if (cycles_q != '1) cycles_q <= cycles_q + 2'd1;

  for (genvar l = 0; l < Levels; l++) begin : gen_check
    inside_trips: assert property (@(posedge clk_i) cycles_q == '1 && step_i && !load_i
      |-> first_q[l] == (next_q[l] == Width'(1)) && last_q[l] == (next_q[l] == trips_i[l])
          && next_q[l] <= trips_i[l] && next_q[l] != '0)
      else $error("loop_nest: level %0d stands behind %0d of %0d", l, next_q[l], trips_i[l]);
  end
`endif

endmodule
