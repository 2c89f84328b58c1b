// May the current tile of a tensor be loaded, and which part of it lies inside the tensor?
// Combinational.

module block_extent
  import df_pkg::*;
(
  // The addresses of the block are block_addresses' business.
  // verilator lint_off UNUSEDSIGNAL
  input  block_t                           block_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic [Levels-1:0]                last_i,      // levels at their last index
  input  logic                             reached_i,   // the event that the tile waits for
  input  logic signed [31:0]               y_i,         // coordinates of the tile's first byte
  input  logic signed [31:0]               x_i,
  input  logic signed [31:0]               z_i,
  input  logic [NumEvents-1:0][EventW-1:0] counters_i,

  output logic                             ready_o,     // event and retirements reached
  output logic                             none_o,      // everything is outside
  output logic [15:0]                      y_skip_o,    // rows outside at the front
  output logic [15:0]                      y_count_o,   // rows inside
  output logic [15:0]                      x_skip_o,
  output logic [15:0]                      x_count_o,
  output logic [31:0]                      z_skip_o,    // bytes of each segment
  output logic [31:0]                      z_count_o
);

  logic none_y, none_x, none_z;

  clip_range #(
    .Width(16)
  ) u_clip_y (
    .start_i(y_i),
    .size_i (block_i.y_size),
    .count_i(block_i.y_count[ragged(last_i, block_i.y_level)]),
    .none_o (none_y),
    .skip_o (y_skip_o),
    .count_o(y_count_o)
  );

  clip_range #(
    .Width(16)
  ) u_clip_x (
    .start_i(x_i),
    .size_i (block_i.x_size),
    .count_i(block_i.x_count[ragged(last_i, block_i.x_level)]),
    .none_o (none_x),
    .skip_o (x_skip_o),
    .count_o(x_count_o)
  );

  clip_range #(
    .Width(32)
  ) u_clip_z (
    .start_i(z_i),
    .size_i (block_i.z_size),
    .count_i(block_i.z_count[ragged(last_i, block_i.z_level)]),
    .none_o (none_z),
    .skip_o (z_skip_o),
    .count_o(z_count_o)
  );

  assign ready_o = reached_i && all_retired(counters_i, block_i.retired);
  assign none_o = none_y || none_x || none_z;

endmodule
