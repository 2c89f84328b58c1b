// May the current tile of a tensor be loaded, and which part of it lies inside the tensor?
//
// Coordinates, sizes and counts are read at the clock edge of sample_i; what follows from them
// stands from the next cycle on. ready_o is combinational.

module block_extent
  import df_pkg::*;
(
  input  logic                             clk_i,

  input  logic                             sample_i,
  input  logic [31:0]                      y_size_i,    // of the tensor
  input  logic [31:0]                      x_size_i,
  input  logic [31:0]                      z_size_i,
  input  logic [15:0]                      y_count_i,   // of the tile
  input  logic [15:0]                      x_count_i,
  input  logic [31:0]                      z_count_i,
  input  retired_t                         retired_i,   // what the tile waits for
  input  logic                             reached_i,   // the event that it waits for
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
    .clk_i,
    .sample_i,
    .start_i(y_i),
    .size_i (y_size_i),
    .count_i(y_count_i),
    .none_o (none_y),
    .skip_o (y_skip_o),
    .count_o(y_count_o)
  );

  clip_range #(
    .Width(16)
  ) u_clip_x (
    .clk_i,
    .sample_i,
    .start_i(x_i),
    .size_i (x_size_i),
    .count_i(x_count_i),
    .none_o (none_x),
    .skip_o (x_skip_o),
    .count_o(x_count_o)
  );

  clip_range #(
    .Width(32)
  ) u_clip_z (
    .clk_i,
    .sample_i,
    .start_i(z_i),
    .size_i (z_size_i),
    .count_i(z_count_i),
    .none_o (none_z),
    .skip_o (z_skip_o),
    .count_o(z_count_o)
  );

  assign ready_o = reached_i && all_retired(counters_i, retired_i);
  assign none_o = none_y || none_x || none_z;

endmodule
