// An address (or coordinate) that walks over the points of a tile: inner loop q, outer loop p,
// blocks around them; every move is one addition, modulo 2^Width.
//
// The command takes effect at the clock edge. save_i stores the position that this command moves
// to; CursorRestore returns to it. The steps are read with the command.

module vector_cursor
  import vector_pkg::*;
#(
  parameter int unsigned Width = 24
) (
  input  logic             clk_i,

  input  cursor_e          command_i,
  input  logic             save_i,
  input  logic [Width-1:0] base_i,
  input  logic [Width-1:0] q_step_i,
  input  logic [Width-1:0] p_step_i,
  input  logic [Width-1:0] block_step_i,

  output logic [Width-1:0] value_o
);

  logic [Width-1:0] value_q, value_d;
  logic [Width-1:0] row_q, row_d;      // value at q = 0
  logic [Width-1:0] block_q, block_d;  // value at the first point of the block
  logic [Width-1:0] saved_value_q, saved_row_q;

  assign value_o = value_q;

  always_comb begin
    value_d = value_q;
    row_d = row_q;
    block_d = block_q;
    unique case (command_i)
      CursorLoad: begin
        value_d = base_i;
        row_d = base_i;
        block_d = base_i;
      end
      CursorStepQ: value_d = value_q + q_step_i;
      CursorStepP: begin
        value_d = row_q + p_step_i;
        row_d = value_d;
      end
      CursorRestore: begin
        value_d = saved_value_q;
        row_d = saved_row_q;
      end
      CursorBlock: begin
        value_d = block_q + block_step_i;
        row_d = value_d;
        block_d = value_d;
      end
      default: ;
    endcase
  end

  // No reset: CursorLoad comes before any use.
  always_ff @(posedge clk_i) begin
    if (command_i != CursorHold) begin
      value_q <= value_d;
      row_q <= row_d;
      block_q <= block_d;
    end
    if (save_i) begin
      saved_value_q <= value_d;
      saved_row_q <= row_d;
    end
  end

endmodule
