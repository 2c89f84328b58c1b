// The lanes: what happens to a line between its issue and its write.
//
//   stage 0   memory reads requested           1   accumulator and parameter data arrive
//   stage 2   S0, S1, P0, P1                   3   operand selection, register file
//   stage 4   int32 to binary32                7   FMA starts
//   stage 8   short operations                 9   they begin to wait
//   stage 15  binary32 to a code              16   write of register
//                                             17   write of sink
//
// A line of a function leaves at stage 15 and is there again FunctionExtra cycles later, as if it
// had been issued so much later; the control leaves that place free.
//
// A parameter line travels in the same order as the lines that use it, so P0 and P1 change exactly
// between the lines of two blocks. A line converts one operand: a, or b, or both when they are the
// same. Results of the short operations wait for those of the FMA in registers. All loops over
// lanes stay rolled; stages without a line do nothing.
//
// Fields of instr_i must hold until its last line has left the select stage.

module vector_lanes
  import df_pkg::*;
  import vector_pkg::*;
  import fp32_pkg::FromIntLatency, fp32_pkg::ToIntLatency;
  import fp32_function_pkg::FunctionExp2;
(
  input  logic                clk_i,
  input  logic                rst_ni,

  // Waived: the tile walk and the control read the other fields.
  // verilator lint_off UNUSEDSIGNAL
  input  vector_t             instr_i,
  // verilator lint_on UNUSEDSIGNAL

  input  logic                table_we_i,
  // Waived: how many bits count depends on the width of a beat.
  // verilator lint_off UNUSEDSIGNAL
  input  logic [7:0]          table_beat_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic [LineBits-1:0] table_data_i,

  input  logic                line_valid_i,  // stage 0
  // Waived: addresses of reads end at the issue.
  // verilator lint_off UNUSEDSIGNAL
  input  line_t               line_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic [31:0]         acc_data_i [Cols],    // stage 1
  input  logic [31:0]         param_data_i [Cols],  // stage 1
  input  logic [LineBits-1:0] act_data_i,           // stage 2

  output logic                sink_valid_o,  // stage 17
  output logic [23:0]         sink_addr_o,
  output logic [LineBits-1:0] sink_data_o,
  output logic [LineBytes-1:0] sink_mask_o,
  output logic                release_out_o,
  output logic                instr_last_o,
  output logic [15:0]         layer_o,

  output logic                front_busy_o,  // a line is before the select stage
  output logic                busy_o
);

  localparam int unsigned Strip = 1 << StripW;
  localparam int unsigned ShortStage = ExecuteStage + 1;  // short operations, from registers
  localparam int unsigned Delay = FinishStage - ShortStage;
  localparam int unsigned LastStage = WriteStage - 1;  // results come out of logic
  localparam int unsigned LineOffsetW = LineIdxW;
  localparam int unsigned TableIdxW = TableBeats > 1 ? $clog2(TableBeats) : 1;

  if (Cols > LineBytes) begin : gen_cols_check
    $error("%0d lanes do not fit into a line of %0d bytes", Cols, LineBytes);
  end
  if (ToIntLatency != 2) begin : gen_code_check
    $error("codes are made in two stages, fp32_pkg::ToIntLatency says %0d", ToIntLatency);
  end

  // Control pipeline: stage s holds the line that was issued s cycles ago.

  logic [WriteStage:1] valid_q;
  // Waived: each stage reads some fields only.
  // verilator lint_off UNUSEDSIGNAL
  line_t               pipe_q [WriteStage+1];
  line_t               select, execute, short_way, finish, last, write;  // at these stages
  // verilator lint_on UNUSEDSIGNAL

  logic       leaves, back, function_busy;
  returning_t leaving, returning;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else begin
      valid_q <= {valid_q[WriteStage-1:1], line_valid_i};
      valid_q[FinishStage+1] <= (valid_q[FinishStage] && !leaves) || back;
    end
  end

  always_ff @(posedge clk_i) begin
    if (line_valid_i) pipe_q[1] <= line_i;
    if (valid_q != '0 || back) begin
      for (int unsigned s = 2; s <= WriteStage; s++) begin
        pipe_q[s] <= s == FinishStage + 1 ? finish : pipe_q[s-1];
      end
    end
  end

  assign select = pipe_q[SelectStage];
  assign execute = pipe_q[ExecuteStage];
  assign short_way = pipe_q[ShortStage];
  // The line that is in the finish stage, or back there from a function.
  assign leaves = valid_q[FinishStage] && !pipe_q[FinishStage].param
                  && pipe_q[FinishStage].op.function_f != '0;
  assign leaving = '{
      to_int: pipe_q[FinishStage].op.to_int,
      zero: pipe_q[FinishStage].op.zero,
      lo: pipe_q[FinishStage].op.lo,
      hi: pipe_q[FinishStage].op.hi,
      dst: pipe_q[FinishStage].op.dst,
      write: pipe_q[FinishStage].op.write,
      line: pipe_q[FinishStage].line,
      sink: pipe_q[FinishStage].sink,
      sink_addr: pipe_q[FinishStage].sink_addr,
      sink_lanes: pipe_q[FinishStage].sink_lanes,
      release_out: pipe_q[FinishStage].release_out,
      instr_last: pipe_q[FinishStage].instr_last,
      layer: pipe_q[FinishStage].layer
  };
  always_comb begin
    finish = pipe_q[FinishStage];
    if (back) begin
      finish.param = 1'b0;
      finish.op.op = OpFma;
      finish.op.to_int = returning.to_int;
      finish.op.zero = returning.zero;
      finish.op.lo = returning.lo;
      finish.op.hi = returning.hi;
      finish.op.dst = returning.dst;
      finish.op.write = returning.write;
      finish.line = returning.line;
      finish.sink = returning.sink;
      finish.sink_addr = returning.sink_addr;
      finish.sink_lanes = returning.sink_lanes;
      finish.release_out = returning.release_out;
      finish.instr_last = returning.instr_last;
      finish.layer = returning.layer;
    end
  end
  assign last = pipe_q[LastStage];
  assign write = pipe_q[WriteStage];
  assign front_busy_o = valid_q[SelectStage-1:1] != '0;
  assign busy_o = valid_q != '0 || function_busy;

  // Stage 1: register the memories' data.

  logic [31:0] acc_q [Cols];
  logic [31:0] param_q [Cols];

  always_ff @(posedge clk_i) begin
    if (valid_q[1] && pipe_q[1].acc_read) acc_q <= acc_data_i;
    if (valid_q[1] && pipe_q[1].param) param_q <= param_data_i;
  end

  // Stage 2: operand lines, in the order of the selectors S0, S1, P0, P1.

  logic [31:0] operand_q [4][Cols];

  function automatic logic [31:0] from_bytes(
    input logic [LineBits-1:0] data, input int unsigned lane, input logic [1:0] mode,
    input logic is_signed, input logic signed [9:0] zero
  );
    logic [7:0]         code;
    logic signed [10:0] value;
    code = mode == 2'd0 ? data[8*lane +: 8] : data[7:0];
    value = $signed({{3{is_signed && code[7]}}, code}) - 11'(zero);
    return mode == 2'd2 ? data[31:0] : 32'(value);
  endfunction

  // The activation memory's line is S1 when the line reads that, else S0: one way for both.
  logic [31:0]       read_line [Cols];
  logic [1:0]        read_mode;
  logic              read_signed;
  logic signed [9:0] read_zero;

  always_comb begin
    read_mode = pipe_q[SourceStage].use_s1 ? instr_i.second.mode : instr_i.first.mode;
    read_signed = pipe_q[SourceStage].use_s1 ? instr_i.second.signed_f : instr_i.first.signed_f;
    read_zero = pipe_q[SourceStage].use_s1 ? instr_i.second.zero : instr_i.first.zero;
    for (int unsigned c = 0; c < Cols; c++) begin
      read_line[c] = from_bytes(act_data_i, c, read_mode, read_signed, read_zero);
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_q[SourceStage]) begin
      if (pipe_q[SourceStage].param) begin
        operand_q[{1'b1, pipe_q[SourceStage].param_index}] <= param_q;
      end
      if (pipe_q[SourceStage].use_s0) begin
        if (pipe_q[SourceStage].outside) begin
          for (int unsigned c = 0; c < Cols; c++) operand_q[0][c] <= instr_i.pad_value;
        end else if (instr_i.from_acc) begin
          for (int unsigned c = 0; c < Cols; c++) begin
            operand_q[0][c] <= acc_q[c] + (instr_i.bias ? operand_q[2][c] : 32'd0);
          end
        end else begin
          operand_q[0] <= read_line;
        end
      end
      if (pipe_q[SourceStage].use_s1) operand_q[1] <= read_line;
    end
  end

  // Stage 3: select. Selectors 0..3 are registers, 4..7 operand lines, the others scalars.

  // The three reads of a line are at one place of the four registers, so each register is a memory
  // with one read port. Of a scalar the lanes are 0: it travels once, beside them, and joins each
  // lane by an OR where there is a gate anyway.
  localparam int unsigned Convert = FromIntLatency;
  logic [Cols-1:0][31:0] register_line [4];
  logic [31:0]     a_q [Cols], b_q [Cols], c_q [Cols];
  logic [31:0]     a_scalar_q [Convert+1], b_scalar_q [Convert+1], c_scalar_q [Convert+1];

  function automatic logic [31:0] scalar(
    input logic [4:0] selector, input logic [7:0][31:0] constants
  );
    unique case (selector)
      OperandOne: return 32'h3f80_0000;
      OperandMinusZero: return 32'h8000_0000;
      default: return selector[3] ? constants[selector[2:0]] : 32'd0;
    endcase
  endfunction

  always_ff @(posedge clk_i) begin
    if (valid_q[SelectStage] && !select.param) begin
      automatic logic [4:0] sa = select.op.a;
      automatic logic [4:0] sb = select.op.b;
      automatic logic [4:0] sc = select.op.c;
      a_scalar_q[0] <= scalar(sa, instr_i.constants);
      b_scalar_q[0] <= scalar(sb, instr_i.constants);
      c_scalar_q[0] <= scalar(sc, instr_i.constants);
      for (int unsigned c = 0; c < Cols; c++) begin
        a_q[c] <= sa[4:3] != '0 ? '0
                  : sa[2] ? operand_q[sa[1:0]][c] : register_line[sa[1:0]][c];
        b_q[c] <= sb[4:3] != '0 ? '0
                  : sb[2] ? operand_q[sb[1:0]][c] : register_line[sb[1:0]][c];
        c_q[c] <= sc[4:3] != '0 ? '0
                  : sc[2] ? operand_q[sc[1:0]][c] : register_line[sc[1:0]][c];
      end
    end
  end

  // Conversion of a or b; the raw operands stay beside it.

  logic [31:0] a_raw_q [Convert][Cols], b_raw_q [Convert][Cols], c_raw_q [Convert][Cols];
  logic [31:0] to_convert [Cols], converted [Cols];
  logic [31:0] scalar_to_convert;
  logic        converts;

  assign scalar_to_convert = pipe_q[ConvertStage].op.a_float ? a_scalar_q[0] : b_scalar_q[0];
  always_comb begin
    converts = 1'b0;
    for (int unsigned s = ConvertStage; s < ExecuteStage; s++) begin
      if (valid_q[s] && (pipe_q[s].op.a_float || pipe_q[s].op.b_float)) converts = 1'b1;
    end
    for (int unsigned i = 0; i < Cols; i++) begin
      to_convert[i] = (pipe_q[ConvertStage].op.a_float ? a_q[i] : b_q[i]) | scalar_to_convert;
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_q[ExecuteStage-1:ConvertStage] != '0) begin
      a_raw_q[0] <= a_q;
      b_raw_q[0] <= b_q;
      c_raw_q[0] <= c_q;
      for (int unsigned s = 1; s < Convert; s++) begin
        a_raw_q[s] <= a_raw_q[s-1];
        b_raw_q[s] <= b_raw_q[s-1];
        c_raw_q[s] <= c_raw_q[s-1];
      end
      for (int unsigned s = 1; s <= Convert; s++) begin
        a_scalar_q[s] <= a_scalar_q[s-1];
        b_scalar_q[s] <= b_scalar_q[s-1];
        c_scalar_q[s] <= c_scalar_q[s-1];
      end
    end
  end

  // Execute: operands are complete.

  logic [31:0] a [Cols], b [Cols], c [Cols];
  logic [31:0] a_sign, b_sign, c_sign;
  logic        scaled;  // c is no addend but what exp2 adds to the exponent: 10 bits

  assign a_sign = {execute.op.a_negate, 31'b0};
  assign b_sign = {execute.op.b_negate, 31'b0};
  assign c_sign = {execute.op.c_negate, 31'b0};
  assign scaled = execute.op.function_f == FunctionExp2;

  always_comb begin
    for (int unsigned i = 0; i < Cols; i++) begin
      a[i] = (execute.op.a_float ? converted[i] : a_raw_q[Convert-1][i] | a_scalar_q[Convert])
             ^ a_sign;
      b[i] = (execute.op.b_float ? converted[i] : b_raw_q[Convert-1][i] | b_scalar_q[Convert])
             ^ b_sign;
      c[i] = (c_raw_q[Convert-1][i] | c_scalar_q[Convert]) ^ c_sign;
    end
  end

  // The short way: operands in registers, then one operation. The table is a LUT RAM of beats, one
  // copy a lane in hardware.

  logic [LineBits-1:0]           table_q [TableBeats];
  logic [31:0]                   x_q [Cols], y_q [Cols];
  logic [31:0]                   delay_q [Delay][Cols];

  // vector_program keeps a table beat away from the lines before it up to two stages behind the
  // select stage; the rest of their way to the look-up is waited here.
  localparam int unsigned TableWait = ShortStage - SelectStage - 2;
  logic [TableWait-1:0] table_we_q;
  logic [TableIdxW-1:0] table_beat_q [TableWait];
  logic [LineBits-1:0]  table_data_q [TableWait];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) table_we_q <= '0;
    else table_we_q <= {table_we_q[TableWait-2:0], table_we_i};
  end

  always_ff @(posedge clk_i) begin
    if (table_we_i || table_we_q != '0) begin
      table_beat_q[0] <= TableIdxW'(table_beat_i);
      table_data_q[0] <= table_data_i;
      for (int unsigned s = 1; s < TableWait; s++) begin
        table_beat_q[s] <= table_beat_q[s-1];
        table_data_q[s] <= table_data_q[s-1];
      end
    end
    if (table_we_q[TableWait-1]) table_q[table_beat_q[TableWait-1]] <= table_data_q[TableWait-1];
  end

  // A sum, or a difference that compares. Floats are in the order of integers (-0 below +0),
  // negative ones in the opposite one; of equal operands either is the result.
  function automatic logic [31:0] short_result(
    input logic [3:0] operation, input logic take_b, input logic [31:0] x, input logic [31:0] y
  );
    logic        adds, floats, x_none, y_none, below, takes_x;
    logic [32:0] sum;
    adds = operation == OpIadd && !take_b;
    floats = operation == OpFmax || operation == OpFmin;
    sum = adds ? {x[31], x} + {y[31], y} : {x[31], x} - {y[31], y};
    below = sum[32] ^ (floats && x[31] && y[31]);
    // Every NaN is that of fp32_pkg, of either sign: it is the result.
    x_none = floats && x[30:22] == '1;
    y_none = floats && y[30:22] == '1;
    unique case (operation)
      OpImax, OpFmax: takes_x = x_none || (!y_none && !below);
      OpImin, OpFmin: takes_x = x_none || (!y_none && below);
      default: takes_x = 1'b1;
    endcase
    return adds ? sum[31:0] : takes_x && !take_b ? x : y;
  endfunction

  function automatic logic long_way(
    input logic [3:0] operation, input logic take_b, input logic param
  );
    return operation == OpFma && !take_b && !param;
  endfunction

  // Results of short operations, and the scale of exp2 while its argument is multiplied.
  // Waived: most fields do not matter here.
  // verilator lint_off UNUSEDSIGNAL
  function automatic logic waits(input line_t line);
    return !long_way(line.op.op, line.take_b, line.param) || line.op.function_f == FunctionExp2;
  endfunction
  // verilator lint_on UNUSEDSIGNAL

  function automatic logic [7:0] lookup(input logic [7:0] index);
    logic [LineBits-1:0] beat;
    beat = table_q[TableIdxW'(index >> LineOffsetW)];
    return beat[8 * (index & 8'(LineBytes - 1)) +: 8];
  endfunction

  always_ff @(posedge clk_i) begin
    if (valid_q[ExecuteStage] && waits(execute)) begin
      for (int unsigned i = 0; i < Cols; i++) begin
        x_q[i] <= {a[i][31:10], scaled ? c[i][9:0] : a[i][9:0]};
      end
      y_q <= b;
    end
    if (valid_q[FinishStage-1:ShortStage] != '0) begin
      for (int unsigned s = 1; s < Delay; s++) delay_q[s] <= delay_q[s-1];
    end
    if (valid_q[ShortStage] && waits(short_way)) begin
      for (int unsigned i = 0; i < Cols; i++) begin
        delay_q[0][i] <= !short_way.take_b && short_way.op.op == OpLookup
                         ? 32'(lookup(x_q[i][7:0]))
                         : short_result(short_way.op.op, short_way.take_b, x_q[i], y_q[i]);
      end
    end
  end

  // The long way. The FMA has no valid bits: it moves while one of its stages holds a line of ours.

  logic [FinishStage:ExecuteStage] in_fma;
  logic        fma_moves;
  logic [31:0] fma_result [Cols];

  always_comb begin
    for (int unsigned s = ExecuteStage; s <= FinishStage; s++) begin
      in_fma[s] = valid_q[s] && long_way(pipe_q[s].op.op, pipe_q[s].take_b, pipe_q[s].param);
    end
    fma_moves = in_fma[FinishStage-1:ExecuteStage] != '0;
  end

  // Functions.

  logic [31:0]       function_result [Cols];
  logic signed [9:0] scale [Cols];

  vector_functions u_functions (
    .clk_i,
    .rst_ni,
    .valid_i   (leaves),
    .function_i(pipe_q[FinishStage].op.function_f),
    .x_i       (fma_result),
    .scale_i   (scale),
    .line_i    (leaving),
    .valid_o   (back),
    .y_o       (function_result),
    .line_o    (returning),
    .busy_o    (function_busy)
  );

  // Finish: the result before rounding to a code.

  logic [31:0]       value [Cols];
  logic [31:0]       value_q [Cols];
  logic signed [9:0] code [Cols];
  logic              to_code;

  always_comb begin
    to_code = (valid_q[FinishStage] || back) && rounds(finish.op.to_int, finish.op.op);
    for (int unsigned s = FinishStage + 1; s < WriteStage; s++) begin
      if (valid_q[s] && rounds(pipe_q[s].op.to_int, pipe_q[s].op.op)) to_code = 1'b1;
    end
  end

  function automatic logic rounds(input logic to_int, input logic [3:0] operation);
    return to_int && (operation == OpFma || operation == OpFmax || operation == OpFmin);
  endfunction

  always_comb begin
    for (int unsigned i = 0; i < Cols; i++) begin
      value[i] = back ? function_result[i] : in_fma[FinishStage] ? fma_result[i]
                 : delay_q[Delay-1][i];
      scale[i] = delay_q[Delay-1][i][9:0];
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_q[WriteStage-1:FinishStage] != '0 || back) begin
      value_q <= value;
    end
  end

  for (genvar i = 0; i < Cols; i++) begin : gen_lane
    int_to_fp32 u_float (
      .clk_i,
      .en_i(converts),
      .x_i (to_convert[i]),
      .y_o (converted[i])
    );

    fp32_fma u_fma (
      .clk_i,
      .en_i     (fma_moves),
      .a_i      (a[i]),
      .b_i      (b[i]),
      .c_i      (c[i]),
      .product_i(scaled),
      .y_o      (fma_result[i])
    );

    fp32_to_int u_code (
      .clk_i,
      .en_i        (to_code),
      .x_i         (value[i]),
      .zero_point_i(finish.op.zero),
      .lo_i        (finish.op.lo),
      .hi_i        (finish.op.hi),
      .y_o         (code[i])
    );
  end

  // Write: the registers take a result a cycle before it stands in a register, so that a line reads
  // it from them in the cycle of its sink.

  logic [Cols-1:0][31:0] result_line, result_q;

  always_comb begin
    for (int unsigned i = 0; i < Cols; i++) begin
      result_line[i] = rounds(last.op.to_int, last.op.op) ? 32'(code[i]) : value_q[i];
    end
    sink_data_o = '0;
    for (int unsigned i = 0; i < Cols; i++) sink_data_o[8*i +: 8] = result_q[i][7:0];
    for (int unsigned i = 0; i < LineBytes; i++) sink_mask_o[i] = 8'(i) < write.sink_lanes;
  end

  always_ff @(posedge clk_i) begin
    if (valid_q[LastStage]) result_q <= result_line;
  end

  assign sink_valid_o = valid_q[WriteStage] && write.sink;
  assign sink_addr_o = write.sink_addr;
  assign release_out_o = valid_q[WriteStage] && write.release_out;
  assign instr_last_o = valid_q[WriteStage] && write.instr_last;
  assign layer_o = write.layer;

  for (genvar r = 0; r < 4; r++) begin : gen_register
    logic [Cols-1:0][31:0] line_q [Strip];

    assign register_line[r] = line_q[select.line];

    always_ff @(posedge clk_i) begin
      if (valid_q[LastStage] && last.op.write && !last.param && last.op.dst == 2'(r)) begin
        line_q[last.line] <= result_line;
      end
    end
  end

`ifndef SYNTHESIS
  // Simulation check only: the program builder sets `depends` where it is needed.
  function automatic logic reads(
    input logic [3:0] operation, input logic take_b, input logic [4:0] a_selector,
    input logic [4:0] b_selector, input logic [4:0] c_selector, input logic [4:0] register
  );
    logic unary;
    unary = operation == OpLookup || operation == OpMove;
    if (take_b) return b_selector == register;
    return a_selector == register || (!unary && b_selector == register)
           || (operation == OpFma && c_selector == register);
  endfunction

  one_conversion: assert property (@(posedge clk_i) disable iff (!rst_ni)
    valid_q[SelectStage] && !select.param && select.op.a_float && select.op.b_float
    |-> select.op.a == select.op.b)
    else $error("vector: a line converts two different operands");

  back_alone: assert property (@(posedge clk_i) disable iff (!rst_ni)
    back |-> !valid_q[FinishStage] || leaves)
    else $error("vector: a line comes back from a function where another one is");

  // Lines in the function stages.
  logic [FunctionExtra:1] away_q;
  returning_t             away_line_q [FunctionExtra+1];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) away_q <= '0;
    else away_q <= {away_q[FunctionExtra-1:1], leaves};
    away_line_q[1] <= leaving;
    for (int unsigned s = 2; s <= FunctionExtra; s++) away_line_q[s] <= away_line_q[s-1];
    if (rst_ni && valid_q[SelectStage] && !select.param) begin
      for (int unsigned s = 1; s <= FunctionExtra; s++) begin
        if (away_q[s] && away_line_q[s].write && away_line_q[s].line == select.line
            && reads(select.op.op, select.take_b, select.op.a, select.op.b, select.op.c,
                     5'(away_line_q[s].dst))) begin
          $error("vector: register %0d is read while a function makes it", away_line_q[s].dst);
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_ni && valid_q[SelectStage] && !select.param) begin
      for (int unsigned s = SelectStage + 1; s < WriteStage; s++) begin
        if (valid_q[s] && pipe_q[s].op.write && !pipe_q[s].param
            && pipe_q[s].line == select.line
            && reads(select.op.op, select.take_b, select.op.a, select.op.b, select.op.c,
                     5'(pipe_q[s].op.dst))) begin
          $error("vector: register %0d is read %0d cycles after its write was issued",
                 pipe_q[s].op.dst, s - SelectStage);
        end
      end
    end
  end
`endif

endmodule
