// The instruction in force, its micro-operations, and the way to them.
//
// take_o accepts the next instruction when the engine has issued everything of the one before
// (drained_i). Its fixed fields are in instr_o from the next cycle on, in which start_o is high.
// Then the payload is read, a beat a cycle: micro-operations, then the table, which goes straight
// to the lanes. ready_o rises in the cycle after the last beat. A table beat is never accepted
// before the last line of the instruction before has read the table: that line is three stages on
// when its successor is taken, and a beat of micro-operations comes first.
// op_o is read asynchronously; what decides when its line is issued is kept beside it in a memory
// of its own, which answers sooner. op_last_o stands from the cycle behind start_o on, so with
// ready_o.

module vector_program
  import df_pkg::*;
  import vector_pkg::*;
(
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                instr_valid_i,
  input  vector_t             instr_i,
  output logic                take_o,
  input  logic                payload_valid_i,
  input  logic [LineBits-1:0] payload_data_i,
  output logic                payload_ready_o,

  input  logic                drained_i,
  output logic                start_o,
  output logic                ready_o,
  output logic                busy_o,  // an instruction is in force
  output vector_t             instr_o,

  input  logic [OpIdxW-1:0]   op_index_i,
  output micro_op_t           op_o,
  output logic                op_depends_o,   // op_o.depends
  output logic                op_computes_o,  // op_o has a function
  output logic [OpIdxW-1:0]   op_last_o,
  output logic [OpIdxW-1:0]   last_s0_o,  // last micro-operation that reads S0 (S1); the last of
  output logic [OpIdxW-1:0]   last_s1_o,  // all when none does

  output logic                illegal_o,  // a micro-operation that the lanes do not take has come

  output logic                table_we_o,
  output logic [7:0]          table_beat_o,
  output logic [LineBits-1:0] table_data_o
);

  localparam int unsigned SlotW = $clog2(OpsPerBeat);
  localparam int unsigned Beats = MaxOps / OpsPerBeat;

  if (OpsPerBeat < 1) begin : gen_width_check
    $error("a beat of %0d bits holds no micro-operation of %0d bits", LineBits,
           $bits(micro_op_t));
  end

  typedef enum logic [1:0] {
    Idle,
    Ops,
    Table,
    Run
  } state_e;

  state_e              state_q;
  logic                start_q;
  vector_t             instr_q;
  logic [7:0]          beat_q;
  logic [7:0]          op_count;
  logic [OpIdxW-1:0]   op_last, op_last_q;
  logic [7:0]          first_op;  // of this beat
  logic                accept;
  logic [LineBits-1:0] ops_q [Beats];
  logic [OpsPerBeat-1:0][1:0] marks, marks_q [Beats];  // of each: depends, computes
  logic [OpIdxW-1:0]   last_s0_q, last_s1_q;
  logic                illegal_q;

  assign op_count = 8'(instr_q.ops_init) + 8'(instr_q.ops_body) + 8'(instr_q.ops_final);
  assign first_op = 8'(beat_q << SlotW);
  assign accept = payload_valid_i && payload_ready_o;

  assign take_o = instr_valid_i && (state_q == Idle || (state_q == Run && drained_i));
  assign payload_ready_o = state_q == Ops || state_q == Table;
  assign start_o = start_q;
  assign ready_o = state_q == Run;
  assign busy_o = state_q != Idle;
  assign instr_o = instr_q;
  assign op_last = OpIdxW'(op_count - 8'd1);
  assign op_last_o = op_last_q;
  assign last_s0_o = last_s0_q;
  assign last_s1_o = last_s1_q;
  assign illegal_o = illegal_q;
  assign table_we_o = state_q == Table && payload_valid_i;
  assign table_beat_o = beat_q;
  assign table_data_o = payload_data_i;

  if (OpsPerBeat > 1) begin : gen_wide_beat
    assign op_o = ops_q[op_index_i[OpIdxW-1:SlotW]]
                       [$bits(micro_op_t) * op_index_i[SlotW-1:0] +: $bits(micro_op_t)];
    assign {op_depends_o, op_computes_o} = marks_q[op_index_i[OpIdxW-1:SlotW]]
                                                  [op_index_i[SlotW-1:0]];
  end else begin : gen_narrow_beat
    assign op_o = ops_q[op_index_i];
    assign {op_depends_o, op_computes_o} = marks_q[op_index_i][0];
  end

  always_comb begin
    for (int unsigned i = 0; i < OpsPerBeat; i++) begin
      // Waived: not every field counts here.
      // verilator lint_off UNUSEDSIGNAL
      automatic micro_op_t op = payload_data_i[$bits(micro_op_t)*i +: $bits(micro_op_t)];
      // verilator lint_on UNUSEDSIGNAL
      marks[i] = {op.depends, op.function_f != '0};
    end
  end

  always_ff @(posedge clk_i) begin
    if (take_o || !rst_ni) illegal_q <= 1'b0;
    if (take_o) instr_q <= instr_i;
    op_last_q <= op_last;
    if (accept && state_q == Ops) begin
      ops_q[beat_q[OpIdxW-SlotW-1:0]] <= payload_data_i;
      marks_q[beat_q[OpIdxW-SlotW-1:0]] <= marks;
      if (beat_q == '0) begin
        last_s0_q <= op_last;
        last_s1_q <= op_last;
      end
      for (int unsigned i = 0; i < OpsPerBeat; i++) begin
        automatic logic [7:0] index = first_op + 8'(i);
        // Waived: not every field counts here.
        // verilator lint_off UNUSEDSIGNAL
        automatic micro_op_t op = payload_data_i[$bits(micro_op_t)*i +: $bits(micro_op_t)];
        // verilator lint_on UNUSEDSIGNAL
        if (index < op_count) begin
          if (!legal_micro_op_t(op) || (op.a_float && op.b_float && op.a != op.b)
              || (op.function_f != '0 && (op.op != OpFma || op.first_b))) begin
            illegal_q <= 1'b1;
          end
          if (selects(op.a, op.b, op.c, OperandS0)) last_s0_q <= OpIdxW'(index);
          if (selects(op.a, op.b, op.c, OperandS1)) last_s1_q <= OpIdxW'(index);
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      start_q <= 1'b0;
      beat_q <= '0;
    end else begin
      start_q <= take_o;
      if (take_o) begin
        state_q <= Ops;
        beat_q <= '0;
      end else if (state_q == Run && drained_i) begin
        state_q <= Idle;
      end else if (accept) begin
        beat_q <= beat_q + 8'd1;
        if (state_q == Ops && first_op + 8'(OpsPerBeat) >= op_count) begin
          state_q <= instr_q.table_f ? Table : Run;
          beat_q <= '0;
        end
        if (state_q == Table && beat_q == 8'(TableBeats - 1)) state_q <= Run;
      end
    end
  end

endmodule
