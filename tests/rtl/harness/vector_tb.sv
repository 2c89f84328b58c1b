// Runs a program of vector instructions on the engine; everything around it is played from files.
//
// Plusargs: +program, +act, +acc, +load_i, +load_r, +array, +store, +params, +results, +log = FILE;
// +instructions=N; +busy=P refuses activation reads and delays beats with probability P percent,
// +slow_params=P parameter lines, P in per mille; +limit=CYCLES.
// +act is an image of the activation memory, +acc of both accumulator halves. An agent file is a
// list of steps: words {event, value, delay, address, bytes}, then the data. An agent waits until
// counter[event] >= value, then `delay` cycles, moves the data, and counts its own event. The
// store agent writes the bytes to +results instead; +params has lines only.
// +log: for each cycle in which one of them is high, words {cycle, flags}; see `flags` below.
// All words are little endian.

module vector_tb
  import df_pkg::*;
  import vector_pkg::*;
();

  localparam int unsigned ActBytes = ActLines * LineBytes;

  logic clk;
  logic rst_n = 1'b0;
  int unsigned cycle;

  initial begin
    clk = 1'b0;
    forever #1 clk = !clk;
  end
  always_ff @(posedge clk) cycle <= rst_n ? cycle + 1 : 0;

  logic [7:0]  act [ActBytes];
  logic [31:0] acc [2][AccLines][Cols];
  logic [31:0] ring [ParamLines][Cols];

  // Events of the engine and of the agents; agents act a little after the clock edge.
  logic [NumEvents-1:0][EventW-1:0] counters, counters_d, counted;
  logic [EventW-1:0] played [NumEvents];
  logic [23:0] p_written, p_freed;
  int unsigned busy, slow_params, instructions, limit;
  int results, log_file;

  // Program.

  logic                beat_valid, beat_ready;
  logic [LineBits-1:0] beat_data;
  logic                instr_valid, take, payload_valid, payload_ready;
  logic [LineBits-1:0] payload_data;
  vector_t             instr;
  logic                unused_idle;

  instr_queue #(
    .StructBits($bits(vector_t)),
    .Depth     (FifoBeats)
  ) u_queue (
    .clk_i          (clk),
    .rst_ni         (rst_n),
    .beat_valid_i   (beat_valid),
    .beat_ready_o   (beat_ready),
    .beat_data_i    (beat_data),
    .instr_valid_o  (instr_valid),
    .instr_take_i   (take),
    .instr_o        (instr),
    .payload_valid_o(payload_valid),
    .payload_ready_i(payload_ready),
    .payload_data_o (payload_data),
    .idle_o         (unused_idle)
  );

  // Engine.

  logic                 acc_free, i_free, r_free, out, done, idle, illegal;
  logic [15:0]          done_layer;
  logic                 rd_valid, rd_ready, wr_valid, acc_rd, acc_half, par_rd;
  logic [23:0]          rd_addr, wr_addr;
  logic [LineBits-1:0]  rd_data, rd_data_d, wr_data;
  logic [LineBytes-1:0] wr_mask;
  logic [AccIdxW-1:0]   acc_addr;
  logic [ParamIdxW-1:0] par_addr;
  logic [31:0]          acc_data [Cols];
  logic [31:0]          par_data [Cols];
  logic                 perf_busy, perf_op, perf_param;
  logic                 stall_source, stall_sink, stall_param, stall_act, stall_depend;

  always_ff @(posedge clk) begin
    if (rst_n && illegal) $fatal(1, "the lanes refuse a micro-operation");
  end

  vector_engine u_engine (
    .clk_i              (clk),
    .rst_ni             (rst_n),
    .instr_valid_i      (instr_valid),
    .instr_i            (instr),
    .take_o             (take),
    .payload_valid_i    (payload_valid),
    .payload_data_i     (payload_data),
    .payload_ready_o    (payload_ready),
    .illegal_o          (illegal),
    .counters_i         (counters),
    .acc_free_o         (acc_free),
    .i_free_o           (i_free),
    .r_free_o           (r_free),
    .out_o              (out),
    .done_o             (done),
    .done_layer_o       (done_layer),
    .rd_valid_o         (rd_valid),
    .rd_addr_o          (rd_addr),
    .rd_ready_i         (rd_ready),
    .rd_data_i          (rd_data),
    .wr_valid_o         (wr_valid),
    .wr_addr_o          (wr_addr),
    .wr_data_o          (wr_data),
    .wr_mask_o          (wr_mask),
    .acc_rd_o           (acc_rd),
    .acc_half_o         (acc_half),
    .acc_addr_o         (acc_addr),
    .acc_data_i         (acc_data),
    .par_rd_o           (par_rd),
    .par_addr_o         (par_addr),
    .par_data_i         (par_data),
    .p_written_i        (p_written),
    .p_freed_o          (p_freed),
    .idle_o             (idle),
    .perf_busy_o        (perf_busy),
    .perf_op_o          (perf_op),
    .perf_param_o       (perf_param),
    .perf_stall_source_o(stall_source),
    .perf_stall_sink_o  (stall_sink),
    .perf_stall_param_o (stall_param),
    .perf_stall_act_o   (stall_act),
    .perf_stall_depend_o(stall_depend)
  );

  // Memories. Data that nobody asked for is poison.

  always @(posedge clk) begin
    rd_ready <= $urandom_range(99) >= busy;
    rd_data <= rd_data_d;
    for (int unsigned i = 0; i < LineBytes; i++) begin
      rd_data_d[8*i +: 8] <= rd_valid && rd_ready ? act[32'(rd_addr) + i] : 8'($urandom);
    end
    if (rst_n && wr_valid) begin
      for (int unsigned i = 0; i < LineBytes; i++) begin
        // The load agent, a process in time, writes the memory too: both assignments are blocking.
        // verilator lint_off BLKSEQ
        if (wr_mask[i]) act[32'(wr_addr) + i] = wr_data[8*i +: 8];
        // verilator lint_on BLKSEQ
      end
    end
    for (int unsigned c = 0; c < Cols; c++) begin
      acc_data[c] <= acc_rd ? acc[acc_half][acc_addr][c] : $urandom;
      par_data[c] <= par_rd ? ring[par_addr][c] : $urandom;
    end
  end

  // Counters of the engine, and the log.

  logic        unused_counters;
  assign unused_counters = ^counters_d;

  logic [31:0] flags;

  always_comb begin
    for (int unsigned e = 0; e < NumEvents; e++) counters[e] = counted[e] | played[e];
  end

  assign flags = {
    12'b0, wr_valid,  // 19
    counters[EventStoreFree] != counters_d[EventStoreFree],  // 18: visible from this cycle on
    counters[EventArrayAcc] != counters_d[EventArrayAcc],    // 17
    counters[EventLoadR] != counters_d[EventLoadR],          // 16
    counters[EventLoadI] != counters_d[EventLoadI],          // 15
    idle, stall_depend, stall_act, stall_param, stall_sink, stall_source,  // 14 .. 9
    perf_busy, perf_param, perf_op, done, out, r_free, i_free, acc_free, take  // 8 .. 0
  };

  always @(posedge clk) begin
    counters_d <= counters;
    if (rst_n) begin
      if (acc_free) counted[EventVectorAcc] <= counted[EventVectorAcc] + 1;
      if (i_free) counted[EventVectorI] <= counted[EventVectorI] + 1;
      if (r_free) counted[EventVectorR] <= counted[EventVectorR] + 1;
      if (out) counted[EventVectorOut] <= counted[EventVectorOut] + 1;
      if (done) counted[EventVectorDone] <= counted[EventVectorDone] + 1;
      if (done && 16'(counters[EventVectorDone]) != done_layer) begin
        $fatal(1, "layer %0d retires, not %0d", done_layer, counters[EventVectorDone]);
      end
      if (flags[19:15] != '0 || flags[13:0] != '0) $fwrite(log_file, "%u%u", cycle, flags);
      if (cycle == limit) $fatal(1, "%0d instructions done in %0d cycles",
                                 counters[EventVectorDone], cycle);
    end else begin
      counted <= '0;
    end
  end

  // Agents.

  function automatic int open(input string name, input string mode);
    string path;
    int    file;
    if (!$value$plusargs({name, "=%s"}, path)) $fatal(1, "+%s is missing", name);
    file = $fopen(path, mode);
    if (file == 0) $fatal(1, "cannot open %s", path);
    return file;
  endfunction

  function automatic int read_word(input int file, output logic [31:0] word);
    logic [31:0] raw;
    int          count;
    count = $fread(raw, file);
    word = {raw[7:0], raw[15:8], raw[23:16], raw[31:24]};
    return count;
  endfunction

  task automatic tick();
    @(posedge clk);
    #0.1;
  endtask

  task automatic pause();
    while ($urandom_range(99) < busy) tick();
  endtask

  task automatic send_program();
    automatic int file = open("program", "rb");
    automatic logic [LineBits-1:0] raw;
    beat_valid = 1'b0;
    while ($fread(raw, file) == LineBytes) begin
      pause();
      for (int unsigned i = 0; i < LineBytes; i++) beat_data[8*i +: 8] = raw[LineBits-8-8*i +: 8];
      beat_valid = 1'b1;
      while (!beat_ready) tick();
      tick();
      beat_valid = 1'b0;
    end
  endtask

  task automatic send_params();
    automatic int file = open("params", "rb");
    automatic logic [31:0] word;
    while (read_word(file, word) == 4) begin
      while ($urandom_range(999) < slow_params) tick();
      while (32'(p_written - p_freed) >= ParamLines) tick();
      for (int unsigned c = 0; c < Cols; c++) begin
        ring[32'(p_written) % ParamLines][c] = word;
        if (c != Cols - 1) void'(read_word(file, word));
      end
      p_written = p_written + 1;
      if (slow_params != 0) tick();
    end
  endtask

  task automatic play(input string name, input event_e own);
    automatic int file = open(name, "rb");
    automatic logic [31:0] head [5];
    automatic logic [31:0] word;
    automatic logic [7:0] code;
    while (read_word(file, head[0]) == 4) begin
      for (int unsigned i = 1; i < 5; i++) void'(read_word(file, head[i]));
      while (32'(counters[head[0][3:0]]) < head[1]) tick();
      repeat (head[2]) tick();
      for (int unsigned i = 0; i < head[4]; i++) begin
        if (own == EventStoreFree) begin
          $fwrite(results, "%c", act[head[3] + i]);
        end else if (own == EventArrayAcc) begin
          if (i % 4 == 0) void'(read_word(file, word));
          if (i % 4 == 0) acc[(head[3] + i) / (4 * Cols * AccLines)]
                             [(head[3] + i) / (4 * Cols) % AccLines]
                             [(head[3] + i) / 4 % Cols] = word;
        end else begin
          void'($fread(code, file));
          act[head[3] + i] = code;
        end
      end
      played[own] = played[own] + 1;
      tick();  // one event a cycle, as engines do
    end
  endtask

  initial begin
    automatic int file;
    automatic logic [31:0] word;
    automatic logic [7:0] code;
    if (!$value$plusargs("busy=%d", busy)) busy = 0;
    if (!$value$plusargs("slow_params=%d", slow_params)) slow_params = 0;
    if (!$value$plusargs("instructions=%d", instructions)) $fatal(1, "+instructions is missing");
    if (!$value$plusargs("limit=%d", limit)) limit = 1000000;
    results = open("results", "wb");
    log_file = open("log", "wb");
    file = open("act", "rb");
    for (int unsigned i = 0; i < ActBytes; i++) begin
      void'($fread(code, file));
      act[i] = code;
    end
    $fclose(file);
    file = open("acc", "rb");
    for (int unsigned i = 0; i < 2 * AccLines * Cols; i++) begin
      void'(read_word(file, word));
      acc[i / (AccLines * Cols)][i / Cols % AccLines][i % Cols] = word;
    end
    $fclose(file);
    for (int unsigned e = 0; e < NumEvents; e++) played[e] = '0;
    p_written = '0;
    repeat (4) tick();
    rst_n = 1'b1;
    fork
      send_program();
      send_params();
      play("load_i", EventLoadI);
      play("load_r", EventLoadR);
      play("array", EventArrayAcc);
      play("store", EventStoreFree);
      while (32'(counters[EventVectorDone]) != instructions) tick();
    join
    repeat (40) tick();
    if (!idle || instr_valid) $fatal(1, "the engine is not idle");
    for (int unsigned i = 0; i < ActBytes; i++) $fwrite(results, "%c", act[i]);
    $fclose(results);
    $fclose(log_file);
    $finish;
  end

endmodule
