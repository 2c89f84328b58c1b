// Sequencer of the vector engine: turns a tile into lines, one a cycle.
//
// Order: blocks > strips > micro-operations (initial; body, once per window position; final) >
// lines of the strip. Each block first fetches its parameter lines. All addresses are cursors: a
// position (p, q) that steps line by line, returns to the start of the strip for the next
// micro-operation, and stays at the end of the strip for the next strip.
// S0 is read at the window's position in the body and at the point itself before and behind it.
// A register that was not written in the strip holds nothing defined.
//
// Cycles, exact when no read is refused and no parameter line is missing (each such cycle adds one
// cycle to everything behind it). A cycle number is that of the issue, in which the memory reads of
// a line are requested.
//   strip of n lines   sum over executed micro-operations of (n + wait), or with a function of
//                      (FunctionLanes n + wait): a line of it holds the lanes for so many cycles
//                      executed = ops_init + window_r * window_s * ops_body + ops_final
//                      wait = max(0, Latency - n) if `depends` and not the strip's first, else 0;
//                      FunctionExtra - 1 more behind a function (also of the strip, block, tile or
//                      instruction before): no line overtakes one that is in a function stage
//   block              params + sum of its strips: VectorStrip lines each, the last one what is
//                      left of p_count * q_count; no gap between strips or blocks
//   tile i             I(i) = sum of its blocks; lines in cycles F(i) .. T(i) = F(i) + I(i) - 1
//     W(i)  first cycle in which counters_i satisfies all waits that fire at iteration i
//     A(i)  cycle in which the tile is accepted from the walk, which is one tile ahead:
//     A(0) = max(max(X + 2, W(0)) + 1, X + B + 1)
//     A(i) = max(W(i) + 1, T(i-1) - 1)
//     F(i) = A(i) + 2
//   so F(i) = max(W(i) + 3, T(i-1) + 1): a tile that waits starts 3 cycles behind the counter, one
//   that does not follows without a gap.
//   instruction        X = cycle of take_o; B = payload beats, micro-operations and table, that
//                      come without a gap; first line without waits: F(0) = X + max(5, B + 3)
//     X' = max(T + 3, X + B + 1 + S)  for the next instruction, T = last cycle of this one, when
//                      the queue holds its S beats of fixed fields by then
//   events             a released source: the cycle of the last line of the last micro-operation
//                      that reads it (of the tile's last line when none does)
//                      VECTOR_OUT, VECTOR_DONE: T + WriteStage, with the last line's write;
//                      T + WriteStage + FunctionExtra when that is a function's
//                      counters kept outside show an event in the cycle after its pulse

module vector_control
  import df_pkg::*;
  import vector_pkg::*;
(
  input  logic       clk_i,
  input  logic       rst_ni,

  // Waived: the tile walk and the lanes read the other fields.
  // verilator lint_off UNUSEDSIGNAL
  input  vector_t    instr_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic       program_ready_i,
  output logic [OpIdxW-1:0] op_index_o,
  input  micro_op_t  op_i,
  input  logic       op_depends_i,   // op_i.depends
  input  logic       op_computes_i,  // op_i has a function
  input  logic [OpIdxW-1:0] op_last_i,
  input  logic [OpIdxW-1:0] last_s0_i,
  input  logic [OpIdxW-1:0] last_s1_i,

  input  logic       tile_valid_i,
  output logic       tile_ready_o,
  input  tile_work_t tile_i,

  output logic       line_valid_o,
  input  logic       line_ready_i,  // nothing moves in a cycle in which it is low
  output line_t      line_o,

  output logic       busy_o,
  output logic       waits_dependency_o
);

  localparam int unsigned GapW = $clog2(Latency + 1);
  localparam int unsigned AfterW = $clog2(FunctionExtra + 1);

  // A point of the tile. Here and below a register says whether a counter stands at its last value:
  // that is found out with the step to it, so that nothing is compared before a line is issued.
  typedef struct packed {
    logic [15:0] p;
    logic [15:0] q;
    logic        p_last;
    logic        q_last;
  } point_t;

  if (Latency != VectorLatency) begin : gen_latency_check
    $error("the lanes have a latency of %0d cycles, the architecture says %0d", Latency,
           VectorLatency);
  end

  logic              busy_q;
  // Waived: where the tile begins is read when it is loaded.
  // verilator lint_off UNUSEDSIGNAL
  tile_work_t        tile_q;
  // verilator lint_on UNUSEDSIGNAL
  logic [15:0]       block_q;
  logic [1:0]        params_left_q;
  logic [OpIdxW-1:0] op_q;
  logic [StripW-1:0] line_q;
  logic [GapW-1:0]   gap_q;  // cycles that a dependent micro-operation still waits
  logic [AfterW-1:0] after_q;  // cycles until no line of a function can be overtaken
  point_t            point_q, saved_q, point_next;
  logic              q_once_q, p_once_q;  // one column, one row
  logic              block_last_q;
  logic              in_body_q, body_last_q, op_end_q;  // of op_q
  logic [AccIdxW-1:0] acc_q, saved_acc_q;
  logic [23:0]       use_q;       // second_use * uses of S1 in this strip
  logic [23:0]       body_use_q;  // where the body begins: so does each repetition

  // Where we are.
  logic window_first, window_last, window_row_last, once;
  logic at_point_end, line_end, strip_end, block_end, tile_end;
  logic body_repeat, body_leave;
  logic [OpIdxW-1:0] body_first, body_end_q, op_next;  // body_end_q: its last operation
  logic uses_s0, uses_s1;

  // What happens in this cycle.
  logic wants_param, held, emit_param, emit_line, waits, step, param_step, load, computes;

  assign body_first = OpIdxW'(instr_i.ops_init);
  assign once = !in_body_q || window_last;

  assign at_point_end = point_q.q_last && point_q.p_last;
  assign line_end = line_q == StripW'(VectorStrip - 1) || at_point_end;
  assign body_repeat = body_last_q && !window_last;
  assign body_leave = body_last_q && window_last;
  assign strip_end = line_end && op_end_q && !body_repeat;
  assign block_end = strip_end && at_point_end;
  assign tile_end = block_end && block_last_q;
  assign op_next = load ? '0 : body_repeat ? body_first : op_end_q ? '0 : op_q + OpIdxW'(1);

  always_comb begin
    point_next = point_q;
    point_next.q = point_q.q_last ? '0 : point_q.q + 16'd1;
    point_next.q_last = point_q.q_last ? q_once_q : point_q.q + 16'd1 == tile_q.q_last;
    if (point_q.q_last) begin
      point_next.p = point_q.p_last ? '0 : point_q.p + 16'd1;
      point_next.p_last = point_q.p_last ? p_once_q : point_q.p + 16'd1 == tile_q.p_last;
    end
  end

  assign uses_s0 = selects(op_i.a, op_i.b, op_i.c, OperandS0);
  assign uses_s1 = selects(op_i.a, op_i.b, op_i.c, OperandS1);

  // A function's next line comes FunctionLanes cycles behind the one before.
  assign computes = op_computes_i;
  assign wants_param = params_left_q != '0;
  assign held = !wants_param && line_q != '0 && computes
                ? after_q > AfterW'(FunctionExtra + 1 - FunctionLanes) : after_q != '0;
  assign waits = busy_q && (held || (!wants_param && line_q == '0 && op_depends_i && gap_q != '0));
  assign emit_param = busy_q && wants_param && !held;
  assign emit_line = busy_q && !wants_param && !waits;
  assign step = emit_line && line_ready_i;
  assign param_step = emit_param && line_ready_i;
  assign load = tile_valid_i && tile_ready_o;

  assign tile_ready_o = program_ready_i && (!busy_q || (step && tile_end));
  assign line_valid_o = emit_param || emit_line;
  assign busy_o = busy_q;
  assign waits_dependency_o = waits;
  assign op_index_o = op_q;

  // Cursors.

  // What the next line's command is follows from registers; whether it is carried out, late.
  cursor_e point_command, window_command;
  logic    point_move, window_load, window_move, save;

  always_comb begin
    if (block_end) point_command = CursorBlock;
    else if (line_end && !strip_end) point_command = CursorRestore;
    else point_command = point_q.q_last ? CursorStepP : CursorStepQ;
    window_command = window_row_last ? CursorStepP : CursorStepQ;
  end

  assign point_move = step && !tile_end;
  assign save = load || (point_move && strip_end);
  // Back to the point itself behind the body: the cursor's base is 0.
  assign window_load = load || (step && line_end && body_leave);
  assign window_move = step && line_end && body_repeat;

  logic       point_write, window_write;
  logic [1:0] point_place, point_from, window_place, window_from;

  vector_places u_point (
    .clk_i,
    .load_i   (load),
    .move_i   (point_move),
    .command_i(point_command),
    .save_i   (save),
    .write_o  (point_write),
    .place_o  (point_place),
    .from_o   (point_from)
  );

  vector_places u_window (
    .clk_i,
    .load_i   (window_load),
    .move_i   (window_move),
    .command_i(window_command),
    .save_i   (1'b0),
    .write_o  (window_write),
    .place_o  (window_place),
    .from_o   (window_from)
  );

  logic [23:0] first_addr, first_y, first_x, window_addr, window_y, window_x;
  logic [23:0] second_addr, sink_addr;
  logic [31:0] limit_used;  // q * limit_step

  vector_cursor u_first_addr (
    .clk_i,
    .load_i      (load),
    .move_i      (point_move),
    .command_i   (point_command),
    .write_i     (point_write),
    .place_i     (point_place),
    .from_i      (point_from),
    .base_i      (tile_i.first_addr),
    .q_step_i    (instr_i.first.q_step.addr),
    .p_step_i    (instr_i.first.p_step.addr),
    .block_step_i(instr_i.first.block_step),
    .value_o     (first_addr)
  );

  // Coordinates are the same in every block.
  vector_cursor u_first_y (
    .clk_i,
    .load_i      (load),
    .move_i      (point_move),
    .command_i   (point_command),
    .write_i     (point_write),
    .place_i     (point_place),
    .from_i      (point_from),
    .base_i      (tile_i.y),
    .q_step_i    (instr_i.first.q_step.y),
    .p_step_i    (instr_i.first.p_step.y),
    .block_step_i(24'd0),
    .value_o     (first_y)
  );

  vector_cursor u_first_x (
    .clk_i,
    .load_i      (load),
    .move_i      (point_move),
    .command_i   (point_command),
    .write_i     (point_write),
    .place_i     (point_place),
    .from_i      (point_from),
    .base_i      (tile_i.x),
    .q_step_i    (instr_i.first.q_step.x),
    .p_step_i    (instr_i.first.p_step.x),
    .block_step_i(24'd0),
    .value_o     (first_x)
  );

  vector_cursor u_second_addr (
    .clk_i,
    .load_i      (load),
    .move_i      (point_move),
    .command_i   (point_command),
    .write_i     (point_write),
    .place_i     (point_place),
    .from_i      (point_from),
    .base_i      (tile_i.second_addr),
    .q_step_i    (instr_i.second.q_step.addr),
    .p_step_i    (instr_i.second.p_step.addr),
    .block_step_i(instr_i.second.block_step),
    .value_o     (second_addr)
  );

  vector_cursor u_sink_addr (
    .clk_i,
    .load_i      (load),
    .move_i      (point_move),
    .command_i   (point_command),
    .write_i     (point_write),
    .place_i     (point_place),
    .from_i      (point_from),
    .base_i      (tile_i.sink_addr),
    .q_step_i    (instr_i.sink_q),
    .p_step_i    (instr_i.sink_p),
    .block_step_i(instr_i.sink_block),
    .value_o     (sink_addr)
  );

  vector_cursor #(
    .Width(32)
  ) u_limit_used (
    .clk_i,
    .load_i      (load),
    .move_i      (point_move),
    .command_i   (point_command),
    .write_i     (point_write),
    .place_i     (point_place),
    .from_i      (point_from),
    .base_i      (32'd0),
    .q_step_i    (32'(instr_i.limit_step)),
    .p_step_i    (32'd0),
    .block_step_i(32'd0),
    .value_o     (limit_used)
  );

  vector_cursor u_window_addr (
    .clk_i,
    .load_i      (window_load),
    .move_i      (window_move),
    .command_i   (window_command),
    .write_i     (window_write),
    .place_i     (window_place),
    .from_i      (window_from),
    .base_i      (24'd0),
    .q_step_i    (instr_i.s_step.addr),
    .p_step_i    (instr_i.r_step.addr),
    .block_step_i(24'd0),
    .value_o     (window_addr)
  );

  vector_cursor u_window_y (
    .clk_i,
    .load_i      (window_load),
    .move_i      (window_move),
    .command_i   (window_command),
    .write_i     (window_write),
    .place_i     (window_place),
    .from_i      (window_from),
    .base_i      (24'd0),
    .q_step_i    (instr_i.s_step.y),
    .p_step_i    (instr_i.r_step.y),
    .block_step_i(24'd0),
    .value_o     (window_y)
  );

  vector_cursor u_window_x (
    .clk_i,
    .load_i      (window_load),
    .move_i      (window_move),
    .command_i   (window_command),
    .write_i     (window_write),
    .place_i     (window_place),
    .from_i      (window_from),
    .base_i      (24'd0),
    .q_step_i    (instr_i.s_step.x),
    .p_step_i    (instr_i.r_step.x),
    .block_step_i(24'd0),
    .value_o     (window_x)
  );

  // Parameter ring.

  logic                 param_last;
  logic [23:0]          param_count;
  logic [ParamIdxW-1:0] param_line;

  assign param_last = params_left_q == 2'd1;

  vector_params u_params (
    .clk_i,
    .rst_ni,
    .load_i  (load),
    .rewind_i(tile_i.rewind),
    .level_i (tile_i.level),
    .opens_i (tile_i.opens),
    .step_i  (param_step),
    .count_o (param_count),
    .line_o  (param_line)
  );

  // The line of this cycle.

  logic [23:0]  y, x;
  logic         last_use;  // in the last strip of the tile, last line
  logic [31:0]  room;      // lanes left before the limit, signed
  logic [7:0]   lanes;

  always_comb begin
    y = first_y + window_y;
    x = first_x + window_x;
    lanes = block_last_q ? tile_q.lanes_last : instr_i.lanes;
    room = 32'(tile_q.limit) - limit_used;
    last_use = emit_line && block_last_q && at_point_end && once;

    line_o.param = emit_param;
    line_o.param_index = params_left_q != instr_i.params;
    line_o.param_free = param_last && block_last_q && tile_q.release_params;
    line_o.param_count = param_count;
    line_o.param_line = param_line;

    line_o.op = op_i;
    line_o.line = line_q;
    line_o.take_b = op_i.first_b && in_body_q && window_first;
    line_o.use_s0 = uses_s0 && !emit_param;
    line_o.use_s1 = uses_s1 && !emit_param;
    // Negative coordinates are beyond any size when read as unsigned.
    line_o.outside = !instr_i.from_acc && (y >= instr_i.y_size || x >= instr_i.x_size);
    line_o.acc_read = line_o.use_s0 && instr_i.from_acc;
    line_o.acc_half = tile_q.acc_half;
    line_o.acc_line = acc_q;
    line_o.act_read = line_o.use_s1 || (line_o.use_s0 && !instr_i.from_acc && !line_o.outside);
    line_o.act_addr = uses_s1 ? second_addr + use_q : first_addr + window_addr;

    line_o.sink = emit_line && op_i.sink && once && instr_i.sink.enable;
    line_o.sink_addr = sink_addr;
    if (!instr_i.limit_enable || $signed(room) >= $signed(32'(lanes))) line_o.sink_lanes = lanes;
    else line_o.sink_lanes = room[31] ? 8'd0 : room[7:0];

    line_o.release_first = last_use && op_q == last_s0_i && tile_q.release_first;
    line_o.release_second = last_use && op_q == last_s1_i && tile_q.release_second;
    line_o.release_out = emit_line && tile_end && tile_q.release_out;
    line_o.instr_last = emit_line && tile_end && tile_q.instr_last;
    line_o.layer = instr_i.header.layer;
  end

  always_ff @(posedge clk_i) begin
    if (load) begin
      tile_q <= tile_i;
      block_q <= '0;
      params_left_q <= instr_i.params;
      block_last_q <= tile_i.block_last == '0;
      line_q <= '0;
      gap_q <= '0;
      q_once_q <= tile_i.q_last == '0;
      p_once_q <= tile_i.p_last == '0;
      point_q <= '{p: '0, q: '0, p_last: tile_i.p_last == '0, q_last: tile_i.q_last == '0};
      saved_q <= '{p: '0, q: '0, p_last: tile_i.p_last == '0, q_last: tile_i.q_last == '0};
      acc_q <= '0;
      saved_acc_q <= '0;
      use_q <= '0;
      body_use_q <= '0;
    end else begin
      if (param_step) params_left_q <= params_left_q - 2'd1;
      if (waits && !held && line_ready_i) gap_q <= gap_q - GapW'(1);
      if (step) begin
        // The next line.
        line_q <= line_end ? '0 : line_q + StripW'(1);
        if (line_end && !strip_end) begin
          point_q <= saved_q;
          acc_q <= saved_acc_q;
        end else begin
          point_q <= point_next;
          acc_q <= acc_q + AccIdxW'(1);
        end
        if (strip_end) begin
          saved_q <= point_next;
          saved_acc_q <= acc_q + AccIdxW'(1);
        end
        if (block_end) begin
          block_q <= block_q + 16'd1;
          block_last_q <= block_q + 16'd1 == tile_q.block_last;
          params_left_q <= instr_i.params;
        end
        // The next micro-operation.
        if (line_end) begin
          if (strip_end || 8'(line_q) >= 8'(Latency - 1)) gap_q <= '0;
          else gap_q <= GapW'(8'(Latency - 1) - 8'(line_q));
          if (strip_end) use_q <= '0;
          else if (body_repeat) use_q <= body_use_q;
          else if (uses_s1) use_q <= use_q + instr_i.second_use;
          if (strip_end) body_use_q <= '0;
          else if (!in_body_q && uses_s1) body_use_q <= use_q + instr_i.second_use;
        end
      end
    end
  end

  // The next micro-operation. What the instruction alone decides is ready before its first tile is.
  always_ff @(posedge clk_i) begin
    body_end_q <= OpIdxW'(instr_i.ops_init) + OpIdxW'(instr_i.ops_body) - OpIdxW'(1);
    if (load || (step && line_end)) begin
      op_q <= op_next;
      op_end_q <= op_next == op_last_i;
      in_body_q <= op_next >= body_first && instr_i.ops_body != '0 && op_next <= body_end_q;
      body_last_q <= op_next == body_end_q && instr_i.ops_body != '0;
    end
  end

  vector_window u_window_position (
    .clk_i,
    .load_i    (window_load),
    .move_i    (window_move),
    .rows_i    (instr_i.window_r),
    .columns_i (instr_i.window_s),
    .first_o   (window_first),
    .row_last_o(window_row_last),
    .last_o    (window_last)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) busy_q <= 1'b0;
    else if (load) busy_q <= 1'b1;
    else if (step && tile_end) busy_q <= 1'b0;

    if (!rst_ni) after_q <= '0;
    else if (step && computes) after_q <= AfterW'(FunctionExtra);
    else if (line_ready_i && after_q != '0) after_q <= after_q - AfterW'(1);
  end

endmodule
