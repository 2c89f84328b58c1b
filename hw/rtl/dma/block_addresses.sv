// Where the current tile of a tensor lies: local and DRAM address, coordinates; and whether the
// event that it waits for has been reached.
//
// Loaded from the new instruction's block in the cycle of load_i, stepped with the loop nest; the
// strides come from the running instruction. Outputs are registers (and one sum, local_o); they
// hold until the next step_i or fire_i.

module block_addresses
  import df_pkg::*;
#(
  parameter logic [NumEvents-1:0] EVENTS = '1  // that a tile may wait for
) (
  input  logic                      clk_i,

  input  logic                      load_i,
  input  logic                      step_i,
  input  logic [$clog2(Levels)-1:0] level_i,
  input  logic                      fire_i,
  // Of the new instruction only the bases are needed, of the running one only the strides.
  // verilator lint_off UNUSEDSIGNAL
  input  block_t                    new_i,
  input  block_t                    block_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic [NumEvents-1:0][EventW-1:0] counters_i,

  output logic [23:0]               local_o,  // slot included
  output logic [31:0]               dram_o,
  output logic signed [31:0]        y_o,
  output logic signed [31:0]        x_o,
  output logic signed [31:0]        z_o,
  output logic                      reached_o
);

  logic [23:0] tile, slot;
  logic [31:0] y, x, z;

  assign local_o = tile + slot;
  assign y_o = signed'(y);
  assign x_o = signed'(x);
  assign z_o = signed'(z);

  nest_agu #(
    .Width (24),
    .Levels(Levels)
  ) u_tile (
    .clk_i,
    .load_i,
    .base_i   (new_i.tile.base),
    .steps_i  (block_i.tile.strides),
    .step_i,
    .level_i,
    .value_o  (tile)
  );

  nest_agu #(
    .Width (32),
    .Levels(Levels)
  ) u_dram (
    .clk_i,
    .load_i,
    .base_i   (new_i.dram),
    .steps_i  (block_i.dram_strides),
    .step_i,
    .level_i,
    .value_o  (dram_o)
  );

  nest_agu #(
    .Width (32),
    .Levels(Levels)
  ) u_y (
    .clk_i,
    .load_i,
    .base_i   (new_i.y),
    .steps_i  (block_i.y_strides),
    .step_i,
    .level_i,
    .value_o  (y)
  );

  nest_agu #(
    .Width (32),
    .Levels(Levels)
  ) u_x (
    .clk_i,
    .load_i,
    .base_i   (new_i.x),
    .steps_i  (block_i.x_strides),
    .step_i,
    .level_i,
    .value_o  (x)
  );

  nest_agu #(
    .Width (32),
    .Levels(Levels)
  ) u_z (
    .clk_i,
    .load_i,
    .base_i   (new_i.z),
    .steps_i  (block_i.z_strides),
    .step_i,
    .level_i,
    .value_o  (z)
  );

  tile_slots #(
    .Width(24)
  ) u_slots (
    .clk_i,
    .load_i,
    .fire_i,
    .slots_i     (block_i.tile.slots),
    .slot_bytes_i(block_i.tile.slot_bytes),
    .offset_o    (slot)
  );

  event_wait #(
    .EVENTS(EVENTS)
  ) u_wait (
    .clk_i,
    .load_i,
    .new_i     (new_i.tile.ready),
    .wait_i    (block_i.tile.ready),
    .fire_i,
    .counters_i,
    .reached_o
  );

endmodule
