// The whole DMA side: fetch, instruction queues, load and store engines, activation memory, DRAM.
//
// Array and vector unit are stand-ins that take their instructions and payloads and free the rings.
// Every event is written to +log=FILE as "<what> <cycle> <values>"; see tests/rtl/dma_model.py.
// Plusargs besides dram_model's: +program_bytes, +program_addr, +tensors (hex), +rate (per mille, how
// eagerly the stand-ins act), +busy (per mille, other clients of the activation memory), +dump_lo,
// +dump_hi (hex), +until_fetched=1 (end with the program's last beat, for broken programs).

module dma_tb
  import df_pkg::*;
#(
  parameter int unsigned MemBytesLog2 = 20
);

  // Units as indices of the queues.
  localparam logic [1:0] LoadQ   = 2'(UnitLoad);
  localparam logic [1:0] ArrayQ  = 2'(UnitArray);
  localparam logic [1:0] VectorQ = 2'(UnitVector);
  localparam logic [1:0] StoreQ  = 2'(UnitStore);

  logic clk;
  logic rst_n = 1'b0;
  logic start = 1'b0;
  logic dump = 1'b0;

  initial begin
    clk = 1'b0;
    forever #1 clk = !clk;
  end

  string       log_path;
  int          log_file;
  int unsigned program_addr, program_bytes, tensors, rate, busy, dump_lo, dump_hi;
  int unsigned until_fetched;
  int unsigned cycle;

  // Fetch and queues.

  logic                fetch_done;
  job_error_e          fetch_error;
  logic                fetch_req_valid, fetch_req_ready, fetch_r_valid, fetch_r_ready;
  logic [AxiAddrW-1:0] fetch_addr, load_addr;
  logic [7:0]          fetch_len, load_len;
  logic                load_req_valid, load_req_ready, load_r_valid, load_r_ready;
  logic [LineBits-1:0] r_data, beat_data;
  logic [3:0]          beat_valid, beat_ready, queue_idle;
  logic [3:0]          instr_valid, instr_take;
  load_t               load_instr;
  array_t              array_instr;
  vector_t             vector_instr;
  store_t              store_instr;
  logic                payload_valid, payload_ready;
  logic [LineBits-1:0] payload;
  logic [2:0]               unused_payload_valid;
  logic [2:0][LineBits-1:0] unused_payload;

  fetch u_fetch (
    .clk_i          (clk),
    .rst_ni         (rst_n),
    .start_i        (start),
    .program_addr_i (program_addr),
    .program_bytes_i(program_bytes),
    .done_o         (fetch_done),
    .error_o        (fetch_error),
    .req_valid_o    (fetch_req_valid),
    .req_ready_i    (fetch_req_ready),
    .req_addr_o     (fetch_addr),
    .req_len_o      (fetch_len),
    .r_valid_i      (fetch_r_valid),
    .r_ready_o      (fetch_r_ready),
    .r_data_i       (r_data),
    .beat_valid_o   (beat_valid),
    .beat_ready_i   (beat_ready),
    .beat_data_o    (beat_data)
  );

  instr_queue #(.StructBits($bits(load_t))) u_load_queue (
    .clk_i(clk), .rst_ni(rst_n),
    .beat_valid_i(beat_valid[LoadQ]), .beat_ready_o(beat_ready[LoadQ]),
    .beat_data_i(beat_data), .instr_valid_o(instr_valid[LoadQ]),
    .instr_take_i(instr_take[LoadQ]), .instr_o(load_instr),
    .payload_valid_o(unused_payload_valid[0]), .payload_ready_i(1'b1),
    .payload_data_o(unused_payload[0]), .idle_o(queue_idle[LoadQ])
  );
  instr_queue #(.StructBits($bits(array_t))) u_array_queue (
    .clk_i(clk), .rst_ni(rst_n),
    .beat_valid_i(beat_valid[ArrayQ]), .beat_ready_o(beat_ready[ArrayQ]),
    .beat_data_i(beat_data), .instr_valid_o(instr_valid[ArrayQ]),
    .instr_take_i(instr_take[ArrayQ]), .instr_o(array_instr),
    .payload_valid_o(unused_payload_valid[1]), .payload_ready_i(1'b1),
    .payload_data_o(unused_payload[1]), .idle_o(queue_idle[ArrayQ])
  );
  instr_queue #(.StructBits($bits(vector_t))) u_vector_queue (
    .clk_i(clk), .rst_ni(rst_n),
    .beat_valid_i(beat_valid[VectorQ]), .beat_ready_o(beat_ready[VectorQ]),
    .beat_data_i(beat_data), .instr_valid_o(instr_valid[VectorQ]),
    .instr_take_i(instr_take[VectorQ]), .instr_o(vector_instr), .payload_valid_o(payload_valid),
    .payload_ready_i(payload_ready), .payload_data_o(payload), .idle_o(queue_idle[VectorQ])
  );
  instr_queue #(.StructBits($bits(store_t))) u_store_queue (
    .clk_i(clk), .rst_ni(rst_n),
    .beat_valid_i(beat_valid[StoreQ]), .beat_ready_o(beat_ready[StoreQ]),
    .beat_data_i(beat_data), .instr_valid_o(instr_valid[StoreQ]),
    .instr_take_i(instr_take[StoreQ]), .instr_o(store_instr),
    .payload_valid_o(unused_payload_valid[2]), .payload_ready_i(1'b1),
    .payload_data_o(unused_payload[2]), .idle_o(queue_idle[StoreQ])
  );

  // AXI.

  logic                ar_valid, ar_ready, ar_id, r_valid, r_ready, r_id, read_error, read_idle;
  logic [AxiAddrW-1:0] ar_addr, aw_addr;
  logic [7:0]          ar_len, aw_len;
  logic [LineBits-1:0] axi_r_data, w_data;
  logic [1:0]          r_resp, b_resp;
  logic                aw_valid, aw_ready, w_valid, w_ready, w_last, b_valid, b_ready;
  logic [LineBytes-1:0] w_strb;
  logic [63:0]         read_beats [2];
  logic [63:0]         write_beats, write_bytes;
  logic [31:0]         protocol_errors, hazards;
  logic                unused_r_last, unused_b_id;

  dma_read u_read (
    .clk_i          (clk),
    .rst_ni         (rst_n),
    .fetch_valid_i  (fetch_req_valid),
    .fetch_ready_o  (fetch_req_ready),
    .fetch_addr_i   (fetch_addr),
    .fetch_len_i    (fetch_len),
    .fetch_r_valid_o(fetch_r_valid),
    .fetch_r_ready_i(fetch_r_ready),
    .load_valid_i   (load_req_valid),
    .load_ready_o   (load_req_ready),
    .load_addr_i    (load_addr),
    .load_len_i     (load_len),
    .load_r_valid_o (load_r_valid),
    .load_r_ready_i (load_r_ready),
    .r_data_o       (r_data),
    .ar_valid_o     (ar_valid),
    .ar_ready_i     (ar_ready),
    .ar_id_o        (ar_id),
    .ar_addr_o      (ar_addr),
    .ar_len_o       (ar_len),
    .r_valid_i      (r_valid),
    .r_ready_o      (r_ready),
    .r_id_i         (r_id),
    .r_data_i       (axi_r_data),
    .r_resp_i       (r_resp),
    .error_o        (read_error),
    .idle_o         (read_idle)
  );

  dram_model #(
    .DATA_BYTES    (LineBytes),
    .ADDR_WIDTH    (AxiAddrW),
    .MEM_BYTES_LOG2(MemBytesLog2),
    .MAX_READS     (OutstandingReads)
  ) u_dram (
    .clk_i            (clk),
    .rst_ni           (rst_n),
    .master_rst_ni    (rst_n),
    .load_i           (1'b0),
    .ar_valid_i       (ar_valid),
    .ar_ready_o       (ar_ready),
    .ar_id_i          (ar_id),
    .ar_addr_i        (ar_addr),
    .ar_len_i         (ar_len),
    .ar_size_i        (3'(LineIdxW)),
    .ar_burst_i       (2'b01),
    .r_valid_o        (r_valid),
    .r_ready_i        (r_ready),
    .r_id_o           (r_id),
    .r_data_o         (axi_r_data),
    .r_resp_o         (r_resp),
    .r_last_o         (unused_r_last),
    .aw_valid_i       (aw_valid),
    .aw_ready_o       (aw_ready),
    .aw_id_i          (1'b0),
    .aw_addr_i        (aw_addr),
    .aw_len_i         (aw_len),
    .aw_size_i        (3'(LineIdxW)),
    .aw_burst_i       (2'b01),
    .w_valid_i        (w_valid),
    .w_ready_o        (w_ready),
    .w_data_i         (w_data),
    .w_strb_i         (w_strb),
    .w_last_i         (w_last),
    .b_valid_o        (b_valid),
    .b_ready_i        (b_ready),
    .b_id_o           (unused_b_id),
    .b_resp_o         (b_resp),
    .dump_i           (dump),
    .dump_lo_i        (64'(dump_lo)),
    .dump_hi_i        (64'(dump_hi)),
    .read_beats_o     (read_beats),
    .write_beats_o    (write_beats),
    .write_bytes_o    (write_bytes),
    .protocol_errors_o(protocol_errors),
    .hazards_o        (hazards)
  );

  // Engines and activation memory (clients: two busy readers, load, store).

  logic [NumEvents-1:0][EventW-1:0] counters;
  logic [EventW-1:0]                w_written, p_written, w_freed, p_freed;
  logic                             wbuf_we, param_we, load_act_valid, store_act_valid;
  logic [$clog2(WbufLines)-1:0]     wbuf_addr;
  logic [$clog2(ParamLines)-1:0]    param_addr;
  logic [1:0]                       param_quarter;
  logic [LineBits-1:0]              wbuf_data, param_data, load_act_data;
  logic [LineBytes-1:0]             load_act_mask;
  logic [23:0]                      load_act_addr, store_act_addr;
  logic                             load_i, load_r, load_done, store_free, store_done;
  logic [15:0]                      load_layer, store_layer;
  logic                             load_idle, store_idle, write_error;
  logic                             load_beat, store_beat;
  logic [LineIdxW:0]                load_beat_bytes, store_beat_bytes;
  logic                             wait_ring, wait_event, wait_bus, wait_data, wait_act;
  logic                             store_event, store_bus, store_act, store_w;

  // What the engines count.
  int unsigned load_beats, load_bytes, load_waits [5], store_beats, store_bytes, store_waits [4];

  always_ff @(posedge clk) begin
    if (rst_n) begin
      load_beats <= load_beats + 32'(load_beat);
      load_bytes <= load_bytes + 32'(load_beat_bytes);
      load_waits[0] <= load_waits[0] + 32'(wait_ring);
      load_waits[1] <= load_waits[1] + 32'(wait_event);
      load_waits[2] <= load_waits[2] + 32'(wait_bus);
      load_waits[3] <= load_waits[3] + 32'(wait_data);
      load_waits[4] <= load_waits[4] + 32'(wait_act);
      store_beats <= store_beats + 32'(store_beat);
      store_bytes <= store_bytes + 32'(store_beat_bytes);
      store_waits[0] <= store_waits[0] + 32'(store_event);
      store_waits[1] <= store_waits[1] + 32'(store_bus);
      store_waits[2] <= store_waits[2] + 32'(store_act);
      store_waits[3] <= store_waits[3] + 32'(store_w);
    end
  end

  logic [3:0]                act_valid, act_ready;
  logic [3:0][23:0]          act_addr;
  logic [3:0][LineBits-1:0]  act_data;
  logic [1:0]                reader_valid;
  logic [1:0][23:0]          reader_addr;

  logic [FeedPorts-1:0][LineBits-1:0] unused_feed;
  logic                               unused;
  assign unused = ^{array_instr, vector_instr, act_ready[1:0], act_data[2:0]};

  load_engine u_load (
    .clk_i           (clk),
    .rst_ni          (rst_n),
    .tensors_base_i  (tensors),
    .instr_valid_i   (instr_valid[LoadQ]),
    .instr_i         (load_instr),
    .instr_take_o    (instr_take[LoadQ]),
    .counters_i      (counters),
    .req_valid_o     (load_req_valid),
    .req_ready_i     (load_req_ready),
    .req_addr_o      (load_addr),
    .req_len_o       (load_len),
    .r_valid_i       (load_r_valid),
    .r_ready_o       (load_r_ready),
    .r_data_i        (r_data),
    .wbuf_we_o       (wbuf_we),
    .wbuf_addr_o     (wbuf_addr),
    .wbuf_data_o     (wbuf_data),
    .w_written_o     (w_written),
    .w_freed_i       (w_freed),
    .param_we_o      (param_we),
    .param_addr_o    (param_addr),
    .param_quarter_o (param_quarter),
    .param_data_o    (param_data),
    .p_written_o     (p_written),
    .p_freed_i       (p_freed),
    .act_valid_o     (load_act_valid),
    .act_ready_i     (act_ready[2]),
    .act_addr_o      (load_act_addr),
    .act_data_o      (load_act_data),
    .act_mask_o      (load_act_mask),
    .load_i_o        (load_i),
    .load_r_o        (load_r),
    .load_done_o     (load_done),
    .done_layer_o    (load_layer),
    .idle_o          (load_idle),
    .beat_o          (load_beat),
    .bytes_o         (load_beat_bytes),
    .wait_ring_o     (wait_ring),
    .wait_event_o    (wait_event),
    .wait_bus_o      (wait_bus),
    .wait_data_o     (wait_data),
    .wait_act_o      (wait_act)
  );

  store_engine u_store (
    .clk_i         (clk),
    .rst_ni        (rst_n),
    .tensors_base_i(tensors),
    .instr_valid_i (instr_valid[StoreQ]),
    .instr_i       (store_instr),
    .instr_take_o  (instr_take[StoreQ]),
    .counters_i    (counters),
    .act_valid_o   (store_act_valid),
    .act_ready_i   (act_ready[3]),
    .act_addr_o    (store_act_addr),
    .act_data_i    (act_data[3]),
    .aw_valid_o    (aw_valid),
    .aw_ready_i    (aw_ready),
    .aw_addr_o     (aw_addr),
    .aw_len_o      (aw_len),
    .w_valid_o     (w_valid),
    .w_ready_i     (w_ready),
    .w_data_o      (w_data),
    .w_strb_o      (w_strb),
    .w_last_o      (w_last),
    .b_valid_i     (b_valid),
    .b_ready_o     (b_ready),
    .b_resp_i      (b_resp),
    .store_free_o  (store_free),
    .store_done_o  (store_done),
    .done_layer_o  (store_layer),
    .idle_o        (store_idle),
    .error_o       (write_error),
    .beat_o        (store_beat),
    .bytes_o       (store_beat_bytes),
    .wait_event_o  (store_event),
    .wait_bus_o    (store_bus),
    .wait_act_o    (store_act),
    .wait_w_o      (store_w)
  );

  assign act_valid = {store_act_valid, load_act_valid, reader_valid};
  assign act_addr = {store_act_addr, load_act_addr, reader_addr};

  act_mem #(
    .Clients(4),
    .Writers(4)
  ) u_act (
    .clk_i       (clk),
    .rst_ni      (rst_n),
    .feed_valid_i('0),
    .feed_addr_i ('0),
    .feed_data_o (unused_feed),
    .valid_i     (act_valid),
    .addr_i      (act_addr),
    .data_i      ({LineBits'(0), load_act_data, LineBits'(0), LineBits'(0)}),
    .mask_i      ({LineBytes'(0), load_act_mask, LineBytes'(0), LineBytes'(0)}),
    .ready_o     (act_ready),
    .data_o      (act_data)
  );

  // Stand-ins.

  function automatic logic chance(input int unsigned per_mille);
    return $urandom_range(999) < per_mille;
  endfunction

  function automatic logic [EventW-1:0] freed(input logic [EventW-1:0] now,
                                              input logic [EventW-1:0] written);
    if (rate >= 1000) return written;
    if (now == written || !chance(rate)) return now;
    return now + EventW'($urandom_range(32'(written - now), 1));
  endfunction

  logic act_array, act_vector;

  assign instr_take[ArrayQ] = instr_valid[ArrayQ] && act_array;
  assign instr_take[VectorQ] = instr_valid[VectorQ] && act_vector;
  assign payload_ready = act_vector;

  always_ff @(posedge clk) begin
    act_array <= chance(rate);
    act_vector <= chance(rate);
    for (int n = 0; n < 2; n++) begin
      reader_valid[n] <= busy != 0 && chance(busy);
      reader_addr[n] <= 24'($urandom_range(ActLines * LineBytes - 2 * LineBytes));
    end
    if (!rst_n) begin
      w_freed <= '0;
      p_freed <= '0;
      counters <= '0;
    end else begin
      w_freed <= freed(w_freed, w_written);
      p_freed <= freed(p_freed, p_written);
      counters[EventLoadI] <= counters[EventLoadI] + EventW'(load_i);
      counters[EventLoadR] <= counters[EventLoadR] + EventW'(load_r);
      counters[EventLoadDone] <= counters[EventLoadDone] + EventW'(load_done);
      counters[EventStoreFree] <= counters[EventStoreFree] + EventW'(store_free);
      counters[EventStoreDone] <= counters[EventStoreDone] + EventW'(store_done);
      counters[EventArrayDone] <= counters[EventArrayDone] + EventW'(instr_take[ArrayQ]);
      counters[EventVectorDone] <= counters[EventVectorDone] + EventW'(instr_take[VectorQ]);
    end
  end

  // Log.

  always_ff @(posedge clk) begin
    cycle <= rst_n ? cycle + 1 : 0;
    if (rst_n) begin
      if (instr_take[LoadQ]) $fdisplay(log_file, "take_load %0d", cycle);
      if (instr_take[StoreQ]) $fdisplay(log_file, "take_store %0d", cycle);
      if (instr_take[ArrayQ]) begin
        $fdisplay(log_file, "take_array %0d %0d", cycle, array_instr.header.layer);
      end
      if (instr_take[VectorQ]) begin
        $fdisplay(log_file, "take_vector %0d %0d", cycle, vector_instr.header.layer);
      end
      if (payload_valid && payload_ready) $fdisplay(log_file, "payload %0d %h", cycle, payload);
      if (wbuf_we) $fdisplay(log_file, "wbuf %0d %0d %h", cycle, wbuf_addr, wbuf_data);
      if (param_we) begin
        $fdisplay(log_file, "param %0d %0d %0d %h", cycle, param_addr, param_quarter, param_data);
      end
      if (ar_valid && ar_ready) begin
        $fdisplay(log_file, "ar %0d %0d %h %0d", cycle, ar_id, ar_addr, ar_len);
      end
      if (aw_valid && aw_ready) $fdisplay(log_file, "aw %0d %h %0d", cycle, aw_addr, aw_len);
      if (w_valid && w_ready) $fdisplay(log_file, "w %0d %h %h", cycle, w_data, w_strb);
      if (load_i) $fdisplay(log_file, "load_i %0d", cycle);
      if (load_r) $fdisplay(log_file, "load_r %0d", cycle);
      if (load_done) $fdisplay(log_file, "load_done %0d %0d", cycle, load_layer);
      if (store_free) $fdisplay(log_file, "store_free %0d", cycle);
      if (store_done) $fdisplay(log_file, "store_done %0d %0d", cycle, store_layer);
    end
  end

  initial begin
    if (!$value$plusargs("log=%s", log_path)) $fatal(1, "+log is missing");
    if (!$value$plusargs("program_addr=%h", program_addr)) program_addr = 0;
    if (!$value$plusargs("program_bytes=%d", program_bytes)) program_bytes = 0;
    if (!$value$plusargs("tensors=%h", tensors)) tensors = 0;
    if (!$value$plusargs("rate=%d", rate)) rate = 1000;
    if (!$value$plusargs("busy=%d", busy)) busy = 0;
    if (!$value$plusargs("until_fetched=%d", until_fetched)) until_fetched = 0;
    if (!$value$plusargs("dump_lo=%h", dump_lo)) dump_lo = 0;
    if (!$value$plusargs("dump_hi=%h", dump_hi)) dump_hi = 0;
    log_file = $fopen(log_path, "w");
    repeat (4) @(negedge clk);
    rst_n = 1'b1;
    start = 1'b1;
    @(negedge clk);
    start = 1'b0;
    @(negedge clk);
    while (!(fetch_done && (until_fetched != 0 || (load_idle && store_idle && read_idle
                                                   && queue_idle == '1)))) begin
      if (cycle > 400_000) $fatal(1, "the engines do not come to an end");
      @(negedge clk);
    end
    $fdisplay(log_file, "end %0d error %0d %0d %0d protocol %0d hazards %0d", cycle, fetch_error,
              read_error, write_error, protocol_errors, hazards);
    $fdisplay(log_file, "load %0d beats %0d bytes %0d waits %0d %0d %0d %0d %0d", cycle, load_beats,
              load_bytes, load_waits[0], load_waits[1], load_waits[2], load_waits[3],
              load_waits[4]);
    $fdisplay(log_file, "store %0d beats %0d bytes %0d waits %0d %0d %0d %0d", cycle, store_beats,
              store_bytes, store_waits[0], store_waits[1], store_waits[2], store_waits[3]);
    $fdisplay(log_file, "dram %0d %0d %0d %0d", cycle, read_beats[1], write_beats, write_bytes);
    dump = 1'b1;
    @(negedge clk);
    dump = 1'b0;
    @(negedge clk);
    $fclose(log_file);
    $finish;
  end

endmodule
