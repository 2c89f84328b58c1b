// Where cursors that get the same commands keep the positions that later commands start from.
//
//   0      start of the block, and of its first row
//   1, 2   start of a later row: the one of these that the saved row is not at
//   3      the saved position, when it is not the start of a row
//
// load_i begins a tile, move_i carries out the command; without them nothing moves. save_i saves
// the position that is moved to, and its row. A move makes one position, so one place is written
// with it. from_o follows the command alone, which is known long before it is certain that it is
// carried out.

module vector_places
  import vector_pkg::*;
(
  input  logic       clk_i,

  input  logic       load_i,
  input  logic       move_i,
  input  cursor_e    command_i,
  input  logic       save_i,

  output logic       write_o,
  output logic [1:0] place_o,
  output logic [1:0] from_o
);

  logic [1:0] row_q, row_d;               // where the row of the position begins
  logic [1:0] saved_row_q, saved_value_q; // of the saved position

  always_comb begin
    unique case (command_i)
      CursorBlock: row_d = 2'd0;
      CursorStepP: row_d = saved_row_q == 2'd1 ? 2'd2 : 2'd1;
      CursorRestore: row_d = saved_row_q;
      default: row_d = row_q;
    endcase
    if (load_i) row_d = 2'd0;
    place_o = !load_i && command_i == CursorStepQ ? 2'd3 : row_d;
    write_o = load_i || (move_i && (command_i == CursorStepQ ? save_i
                                                             : command_i != CursorRestore));
    from_o = command_i == CursorBlock ? 2'd0
             : command_i == CursorRestore ? saved_value_q : row_q;
  end

  // No reset: load_i comes before any use.
  always_ff @(posedge clk_i) begin
    if (load_i || move_i) row_q <= row_d;
    if (save_i) begin
      saved_row_q <= row_d;
      saved_value_q <= place_o;
    end
  end

`ifndef SYNTHESIS
  // Who drives this is random before its reset: nothing counts in the first cycles.
  logic [1:0] cycles_q;
  initial cycles_q = '0;
  always_ff @(posedge clk_i) if (cycles_q != '1) cycles_q <= cycles_q + 2'd1;

  saves_a_move: assert property (@(posedge clk_i) cycles_q == '1 && save_i
    |-> load_i || (move_i && command_i != CursorRestore))
    else $error("vector_places: a position is saved that no step made");
`endif

endmodule
