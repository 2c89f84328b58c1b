// An address (or coordinate) that walks over the points of a tile: inner loop q, outer loop p,
// blocks around them; every move is one addition, modulo 2^Width.
//
// load_i sets the position to base_i, move_i moves it as the command says. Each command but for
// CursorStepQ makes the new position one that others start from;
// those lie in a LUT RAM, where the places of vector_places say: write_i, place_i are where the new
// position is kept, from_i is where the old one of CursorStepP (start of the row), CursorBlock
// (start of the block) and CursorRestore (the saved position) lies. Both take effect at the clock
// edge. The steps are read with the command.

module vector_cursor
  import vector_pkg::*;
#(
  parameter int unsigned Width = 24
) (
  input  logic             clk_i,

  input  logic             load_i,
  input  logic             move_i,
  input  cursor_e          command_i,
  input  logic             write_i,
  input  logic [1:0]       place_i,
  input  logic [1:0]       from_i,
  input  logic [Width-1:0] base_i,
  input  logic [Width-1:0] q_step_i,
  input  logic [Width-1:0] p_step_i,
  input  logic [Width-1:0] block_step_i,

  output logic [Width-1:0] value_o
);

  logic [Width-1:0] kept_q [4];
  logic [Width-1:0] value_q, value_d, from, step;

  assign value_o = value_q;

  always_comb begin
    unique case (command_i)
      CursorStepQ: step = q_step_i;
      CursorStepP: step = p_step_i;
      CursorBlock: step = block_step_i;
      default: step = '0;
    endcase
    from = command_i == CursorStepQ ? value_q : kept_q[from_i];
    value_d = load_i ? base_i : from + step;
  end

  // No reset: load_i comes before any use.
  always_ff @(posedge clk_i) begin
    if (load_i || move_i) value_q <= value_d;
    if (write_i) kept_q[place_i] <= value_d;
  end

endmodule
