// Read pointer of the parameter ring.
//
// It runs on from instruction to instruction. At the start of a tile (load_i) that was reached by a
// step of a level over which the parameters are the same (rewind_i), it first returns to where that
// level's first iteration began. step_i: a line has been handed out.

module vector_params
  import df_pkg::*;
  import vector_pkg::*;
(
  input  logic                 clk_i,
  input  logic                 rst_ni,

  input  logic                 load_i,
  input  logic                 rewind_i,
  input  logic [LevelIdxW-1:0] level_i,
  input  logic [Levels-1:0]    opens_i,
  input  logic                 step_i,

  output logic [23:0]          count_o,  // lines before the pointer, since reset
  output logic [ParamIdxW-1:0] line_o    // the same modulo ParamLines
);

  typedef struct packed {
    logic [23:0]          count;
    logic [ParamIdxW-1:0] line;
  } pointer_t;

  pointer_t              pointer_q, start;
  pointer_t [Levels-1:0] began_q;

  assign count_o = pointer_q.count;
  assign line_o = pointer_q.line;
  assign start = rewind_i ? began_q[level_i] : pointer_q;

  // No reset: an instruction's first tile opens every level.
  always_ff @(posedge clk_i) begin
    if (load_i) begin
      for (int unsigned l = 0; l < Levels; l++) begin
        if (opens_i[l]) began_q[l] <= start;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      pointer_q <= '0;
    end else if (load_i) begin
      pointer_q <= start;
    end else if (step_i) begin
      pointer_q.count <= pointer_q.count + 24'd1;
      pointer_q.line <= pointer_q.line == ParamIdxW'(ParamLines - 1) ? '0
                        : pointer_q.line + ParamIdxW'(1);
    end
  end

endmodule
