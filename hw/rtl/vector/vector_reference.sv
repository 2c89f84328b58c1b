// One tile reference of a vector instruction: its address in the current iteration, whether it
// fires there, and whether the event that it waits for has been reached.
//
// The slot is chosen by the fire and kept for the whole scope. Outputs are combinational functions
// of registers, instruction fields, first_i and counters_i; step_i moves to the next iteration.

module vector_reference
  import df_pkg::*;
  import vector_pkg::*;
#(
  parameter logic [NumEvents-1:0] EVENTS = '1  // that a tile may wait for
) (
  input  logic                 clk_i,

  input  logic                 start_i,
  input  logic                 step_i,
  input  logic [LevelIdxW-1:0] level_i,
  input  logic [Levels-1:0]    first_i,  // levels that stand at index 0
  input  tile_t                tile_i,
  input  logic [NumEvents-1:0][EventW-1:0] counters_i,

  output logic                 fires_o,
  output logic                 reached_o,
  output logic [23:0]          addr_o
);

  logic [23:0] offset, slot, slot_q;

  nest_agu #(
    .Width (24),
    .Levels(Levels)
  ) u_agu (
    .clk_i,
    .load_i   (start_i),
    .base_i   (tile_i.base),
    .steps_i  (tile_i.strides),
    .step_i,
    .level_i,
    .value_o  (offset)
  );

  tile_slots #(
    .Width(24)
  ) u_slots (
    .clk_i,
    .load_i      (start_i),
    .fire_i      (step_i && fires_o),
    .slots_i     (tile_i.slots),
    .slot_bytes_i(tile_i.slot_bytes),
    .offset_o    (slot)
  );

  event_wait #(
    .EVENTS(EVENTS)
  ) u_wait (
    .clk_i,
    .load_i    (start_i),
    .new_i     (tile_i.ready),
    .wait_i    (tile_i.ready),
    .fire_i    (step_i && fires_o),
    .counters_i,
    .reached_o
  );

  assign fires_o = tile_i.enable && all_from(first_i, tile_i.depth);
  assign addr_o = offset + (fires_o ? slot : slot_q);

  always_ff @(posedge clk_i) begin
    if (start_i) slot_q <= '0;
    else if (step_i && fires_o) slot_q <= slot;
  end

endmodule
