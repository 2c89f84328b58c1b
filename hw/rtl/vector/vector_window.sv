// Position in a window of rows and columns, row by row: is it the first, the last, the last of its
// row?
//
// load_i goes to the first position, move_i to the next one; both take effect at the clock edge.
// The outputs are registers: whether a position is the last is found out with the step to it.
// rows_i and columns_i (at least 1) are read with load_i and move_i.

module vector_window (
  input  logic        clk_i,

  input  logic        load_i,
  input  logic        move_i,
  input  logic [15:0] rows_i,
  input  logic [15:0] columns_i,

  output logic        first_o,
  output logic        row_last_o,
  output logic        last_o
);

  logic [15:0] row_q, column_q;  // behind the position: counted from 1
  logic        first_q, in_last_row_q, row_last_q;

  assign first_o = first_q;
  assign row_last_o = row_last_q;
  assign last_o = in_last_row_q && row_last_q;

  // No reset: load_i comes before any use.
  always_ff @(posedge clk_i) begin
    if (load_i) begin
      first_q <= 1'b1;
      row_q <= 16'd1;
      column_q <= 16'd1;
      in_last_row_q <= rows_i == 16'd1;
      row_last_q <= columns_i == 16'd1;
    end else if (move_i) begin
      first_q <= 1'b0;
      column_q <= row_last_q ? 16'd1 : column_q + 16'd1;
      row_last_q <= row_last_q ? columns_i == 16'd1 : column_q + 16'd1 == columns_i;
      if (row_last_q) begin
        row_q <= row_q + 16'd1;
        in_last_row_q <= row_q + 16'd1 == rows_i;
      end
    end
  end

endmodule
