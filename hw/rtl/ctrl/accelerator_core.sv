// The machine behind its buses: fetch, the four engines, the memories, events and counters.

module accelerator_core
  import df_pkg::*;
(
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                start_i,
  input  logic [AxiAddrW-1:0] program_addr_i,
  input  logic [31:0]         program_bytes_i,
  input  logic [AxiAddrW-1:0] tensors_base_i,
  input  logic [31:0]         read_limit_i,   // bytes behind the base, see hw/registers.json
  input  logic [31:0]         write_first_i,
  input  logic [31:0]         write_limit_i,
  input  logic [31:0]         job_limit_i,
  input  logic [31:0]         progress_limit_i,
  input  logic                stop_i,
  output logic                done_o,   // one cycle
  output logic                idle_o,
  output logic [31:0]         cause_o,
  output logic [31:0]         error_o,
  output logic                count_valid_o,  // a performance counter passes by
  output logic [CounterW-1:0] count_index_o,
  output logic [31:0]         count_o,

  output logic                ar_valid_o,
  input  logic                ar_ready_i,
  output logic                ar_id_o,
  output logic [AxiAddrW-1:0] ar_addr_o,
  output logic [7:0]          ar_len_o,
  input  logic                r_valid_i,
  output logic                r_ready_o,
  input  logic                r_id_i,
  input  logic [LineBits-1:0] r_data_i,
  input  logic [1:0]          r_resp_i,
  input  logic                r_last_i,

  output logic                aw_valid_o,
  input  logic                aw_ready_i,
  output logic [AxiAddrW-1:0] aw_addr_o,
  output logic [7:0]          aw_len_o,
  output logic                w_valid_o,
  input  logic                w_ready_i,
  output logic [LineBits-1:0] w_data_o,
  output logic [LineBytes-1:0] w_strb_o,
  output logic                w_last_o,
  input  logic                b_valid_i,
  output logic                b_ready_o,
  input  logic [1:0]          b_resp_i,

  output logic                bus_rst_no,     // low when the bus is reset with the machine
  // instructions retired in this cycle, by unit, and their layers: for traces
  output logic [3:0]          retired_o,
  output logic [3:0][15:0]    retired_layer_o
);

  localparam int unsigned AccAddrW   = $clog2(AccLines);
  localparam int unsigned WbufAddrW  = $clog2(WbufLines);
  localparam int unsigned ParamAddrW = $clog2(ParamLines);

  localparam int unsigned Load = 32'(UnitLoad), Array = 32'(UnitArray), Vector = 32'(UnitVector),
                          Store = 32'(UnitStore);

  // A job starts from the state after reset: ring pointers, event counters, accumulator halves. One
  // that is given up leaves all of it in reset until the bus has answered.
  logic running, flush, core_rst_n, engine_rst_n;
  assign core_rst_n = rst_ni && !flush;
  assign engine_rst_n = core_rst_n && !start_i;

  // The arguments of the job, taken over at its start.
  localparam int unsigned LineW = AxiAddrW - LineIdxW;
  logic [AxiAddrW-1:0] base_q;
  logic [31:0]         job_limit_q, progress_limit_q;
  logic [LineW:0]      read_end_q, write_first_q, write_end_q;

  // The lower bits of addresses and limits do not count.
  // verilator lint_off UNUSEDSIGNAL
  function automatic logic [LineW:0] line_at(input logic [AxiAddrW-1:0] base,
                                             input logic [31:0] bytes);
    return {1'b0, base[AxiAddrW-1:LineIdxW]} + {1'b0, bytes[31:LineIdxW]};
  endfunction
  // verilator lint_on UNUSEDSIGNAL

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      base_q <= tensors_base_i;
      job_limit_q <= job_limit_i;
      progress_limit_q <= progress_limit_i;
      read_end_q <= line_at(tensors_base_i, read_limit_i);
      write_first_q <= line_at(tensors_base_i, write_first_i);
      write_end_q <= line_at(tensors_base_i, write_limit_i);
    end
  end

  // Program.
  logic                fetch_req_valid, fetch_req_ready, fetch_r_valid, fetch_r_ready, fetch_done;
  logic [AxiAddrW-1:0] fetch_req_addr;
  logic [7:0]          fetch_req_len;
  job_error_e          fetch_error;
  logic [3:0]          beat_valid, beat_ready;
  logic [LineBits-1:0] beat_data, r_data;

  fetch u_fetch (
    .clk_i,
    .rst_ni      (core_rst_n),
    .start_i,
    .program_addr_i,
    .program_bytes_i,
    .done_o      (fetch_done),
    .error_o     (fetch_error),
    .req_valid_o (fetch_req_valid),
    .req_ready_i (fetch_req_ready),
    .req_addr_o  (fetch_req_addr),
    .req_len_o   (fetch_req_len),
    .r_valid_i   (fetch_r_valid),
    .r_ready_o   (fetch_r_ready),
    .r_data_i    (r_data),
    .beat_valid_o(beat_valid),
    .beat_ready_i(beat_ready),
    .beat_data_o (beat_data)
  );

  logic                load_req_valid, load_req_ready, load_r_valid, load_r_ready;
  logic [AxiAddrW-1:0] load_req_addr;
  logic [7:0]          load_req_len;
  logic                read_error, read_idle;
  logic                ar_valid, ar_ready, r_valid, r_ready, aw_valid, aw_ready, w_valid, w_ready;
  logic                w_last, b_valid, b_ready;
  logic [LineBytes-1:0] w_strb;

  dma_read u_dma_read (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .fetch_valid_i  (fetch_req_valid),
    .fetch_ready_o  (fetch_req_ready),
    .fetch_addr_i   (fetch_req_addr),
    .fetch_len_i    (fetch_req_len),
    .fetch_r_valid_o(fetch_r_valid),
    .fetch_r_ready_i(fetch_r_ready),
    .load_valid_i   (load_req_valid),
    .load_ready_o   (load_req_ready),
    .load_addr_i    (load_req_addr),
    .load_len_i     (load_req_len),
    .load_r_valid_o (load_r_valid),
    .load_r_ready_i (load_r_ready),
    .r_data_o       (r_data),
    .ar_valid_o     (ar_valid),
    .ar_ready_i     (ar_ready),
    .ar_id_o,
    .ar_addr_o,
    .ar_len_o,
    .r_valid_i      (r_valid),
    .r_ready_o      (r_ready),
    .r_id_i,
    .r_data_i,
    .r_resp_i,
    .error_o        (read_error),
    .idle_o         (read_idle)
  );

  // Queues.
  logic [3:0]          instr_valid, instr_take, queue_idle;
  logic [LineBits-1:0] payload_data;
  logic                payload_valid, payload_ready;
  load_t               load_instr;
  array_t              array_instr;
  vector_t             vector_instr;
  store_t              store_instr;
  logic [2:0]          no_payload_valid;
  logic [2:0][LineBits-1:0] no_payload_data;

  instr_queue #(.StructBits($bits(load_t))) u_load_queue (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .beat_valid_i   (beat_valid[Load]),
    .beat_ready_o   (beat_ready[Load]),
    .beat_data_i    (beat_data),
    .instr_valid_o  (instr_valid[Load]),
    .instr_take_i   (instr_take[Load]),
    .instr_o        (load_instr),
    .payload_valid_o(no_payload_valid[0]),
    .payload_ready_i(1'b1),
    .payload_data_o (no_payload_data[0]),
    .idle_o         (queue_idle[Load])
  );
  instr_queue #(.StructBits($bits(array_t))) u_array_queue (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .beat_valid_i   (beat_valid[Array]),
    .beat_ready_o   (beat_ready[Array]),
    .beat_data_i    (beat_data),
    .instr_valid_o  (instr_valid[Array]),
    .instr_take_i   (instr_take[Array]),
    .instr_o        (array_instr),
    .payload_valid_o(no_payload_valid[1]),
    .payload_ready_i(1'b1),
    .payload_data_o (no_payload_data[1]),
    .idle_o         (queue_idle[Array])
  );
  instr_queue #(.StructBits($bits(vector_t))) u_vector_queue (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .beat_valid_i   (beat_valid[Vector]),
    .beat_ready_o   (beat_ready[Vector]),
    .beat_data_i    (beat_data),
    .instr_valid_o  (instr_valid[Vector]),
    .instr_take_i   (instr_take[Vector]),
    .instr_o        (vector_instr),
    .payload_valid_o(payload_valid),
    .payload_ready_i(payload_ready),
    .payload_data_o (payload_data),
    .idle_o         (queue_idle[Vector])
  );
  instr_queue #(.StructBits($bits(store_t))) u_store_queue (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .beat_valid_i   (beat_valid[Store]),
    .beat_ready_o   (beat_ready[Store]),
    .beat_data_i    (beat_data),
    .instr_valid_o  (instr_valid[Store]),
    .instr_take_i   (instr_take[Store]),
    .instr_o        (store_instr),
    .payload_valid_o(no_payload_valid[2]),
    .payload_ready_i(1'b1),
    .payload_data_o (no_payload_data[2]),
    .idle_o         (queue_idle[Store])
  );

  // Events: counters since ap_start, each moved by one engine.
  logic [NumEvents-1:0]             event_pulse;
  logic [NumEvents-1:0][EventW-1:0] events_q;

  always_ff @(posedge clk_i) begin
    if (!engine_rst_n) begin
      events_q <= '0;
    end else begin
      for (int unsigned e = 0; e < NumEvents; e++) begin
        if (event_pulse[e]) events_q[e] <= events_q[e] + 1'b1;
      end
    end
  end
  assign event_pulse[EventNone] = 1'b0;
  assign event_pulse[NumEvents-1] = 1'b0;

  // Activation memory: clients by priority.
  localparam int unsigned VectorWrite = 0, VectorRead = 1, Stationary = 2, LoadWrite = 3,
                          StoreRead = 4, Clients = 5;
  localparam int unsigned Writers = 1 << VectorWrite | 1 << LoadWrite;
  logic [Clients-1:0]                 act_valid, act_ready;
  logic [Clients-1:0][23:0]           act_addr;
  logic [Clients-1:0][LineBits-1:0]   act_wdata, act_rdata;
  logic [Clients-1:0][LineBytes-1:0]  act_mask;
  logic [FeedPorts-1:0]               feed_valid;
  logic [FeedPorts-1:0][23:0]         feed_addr;
  logic [FeedPorts-1:0][LineBits-1:0] feed_data;

  assign act_wdata[VectorRead] = '0;
  assign act_wdata[Stationary] = '0;
  assign act_wdata[StoreRead]  = '0;
  assign act_mask[VectorRead]  = '0;
  assign act_mask[Stationary]  = '0;
  assign act_mask[StoreRead]   = '0;

  act_mem #(.Clients(Clients), .Writers(Writers)) u_act (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .feed_valid_i(feed_valid),
    .feed_addr_i (feed_addr),
    .feed_data_o (feed_data),
    .valid_i     (act_valid),
    .addr_i      (act_addr),
    .data_i      (act_wdata),
    .mask_i      (act_mask),
    .ready_o     (act_ready),
    .data_o      (act_rdata)
  );

  // Load.
  logic                  wbuf_we, param_we;
  logic [WbufAddrW-1:0]  wbuf_addr;
  logic [LineBits-1:0]   wbuf_data, param_data;
  logic [ParamAddrW-1:0] param_addr;
  logic [1:0]            param_quarter;
  logic [EventW-1:0]     w_written, w_freed, p_written, p_freed;
  logic                  load_idle;
  logic                  load_beat;
  logic [LineIdxW:0]     load_bytes;
  logic [4:0]            load_wait;

  load_engine u_load (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .tensors_base_i (base_q),
    .instr_valid_i  (instr_valid[Load]),
    .instr_i        (load_instr),
    .instr_take_o   (instr_take[Load]),
    .counters_i     (events_q),
    .req_valid_o    (load_req_valid),
    .req_ready_i    (load_req_ready),
    .req_addr_o     (load_req_addr),
    .req_len_o      (load_req_len),
    .r_valid_i      (load_r_valid),
    .r_ready_o      (load_r_ready),
    .r_data_i       (r_data),
    .wbuf_we_o      (wbuf_we),
    .wbuf_addr_o    (wbuf_addr),
    .wbuf_data_o    (wbuf_data),
    .w_written_o    (w_written),
    .w_freed_i      (w_freed),
    .param_we_o     (param_we),
    .param_addr_o   (param_addr),
    .param_quarter_o(param_quarter),
    .param_data_o   (param_data),
    .p_written_o    (p_written),
    .p_freed_i      (p_freed),
    .act_valid_o    (act_valid[LoadWrite]),
    .act_ready_i    (act_ready[LoadWrite]),
    .act_addr_o     (act_addr[LoadWrite]),
    .act_data_o     (act_wdata[LoadWrite]),
    .act_mask_o     (act_mask[LoadWrite]),
    .load_i_o       (event_pulse[EventLoadI]),
    .load_r_o       (event_pulse[EventLoadR]),
    .load_done_o    (event_pulse[EventLoadDone]),
    .done_layer_o   (retired_layer_o[Load]),
    .idle_o         (load_idle),
    .beat_o         (load_beat),
    .bytes_o        (load_bytes),
    .wait_ring_o    (load_wait[0]),
    .wait_event_o   (load_wait[1]),
    .wait_bus_o     (load_wait[2]),
    .wait_data_o    (load_wait[3]),
    .wait_act_o     (load_wait[4])
  );

  // Rings.
  logic                w_rd, p_rd;
  logic [23:0]         w_addr;
  logic [ParamAddrW-1:0] p_addr;
  logic [LineBits-1:0] w_data;
  logic [4*LineBits-1:0] p_data;

  line_ram #(.Width(LineBits), .Depth(WbufLines)) u_wbuf (
    .clk_i,
    .we_i     (wbuf_we),
    .wr_addr_i(wbuf_addr),
    .wr_data_i(wbuf_data),
    .rd_i     (w_rd),
    .rd_addr_i(WbufAddrW'(w_addr)),
    .rd_data_o(w_data)
  );
  line_ram #(.Width(4*LineBits), .Parts(4), .Depth(ParamLines)) u_params (
    .clk_i,
    .we_i     (4'(param_we) << param_quarter),
    .wr_addr_i(param_addr),
    .wr_data_i({4{param_data}}),
    .rd_i     (p_rd),
    .rd_addr_i(p_addr),
    .rd_data_o(p_data)
  );

  // Array and accumulators.
  logic                acc_rd, acc_rd_half, acc_we, acc_wr_half, vacc_rd, vacc_half;
  logic [AccAddrW-1:0] acc_rd_addr, acc_wr_addr, vacc_addr;
  logic [Cols*32-1:0]  acc_rdata, acc_wdata, vacc_data;
  logic                array_idle, array_busy, stall_tile, stall_acc, stall_weights;
  array_pkg::macs_t    macs;

  array_engine u_array (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .instr_valid_i    (instr_valid[Array]),
    .instr_i          (array_instr),
    .instr_take_o     (instr_take[Array]),
    .counters_i       (events_q),
    .feed_valid_o     (feed_valid),
    .feed_addr_o      (feed_addr),
    .feed_data_i      (feed_data),
    .act_valid_o      (act_valid[Stationary]),
    .act_addr_o       (act_addr[Stationary]),
    .act_ready_i      (act_ready[Stationary]),
    .act_data_i       (act_rdata[Stationary]),
    .w_written_i      (w_written),
    .w_freed_o        (w_freed),
    .w_rd_o           (w_rd),
    .w_addr_o         (w_addr),
    .w_data_i         (w_data),
    .acc_rd_o         (acc_rd),
    .acc_rd_half_o    (acc_rd_half),
    .acc_rd_addr_o    (acc_rd_addr),
    .acc_data_i       (acc_rdata),
    .acc_we_o         (acc_we),
    .acc_wr_half_o    (acc_wr_half),
    .acc_wr_addr_o    (acc_wr_addr),
    .acc_wr_data_o    (acc_wdata),
    .tile_released_o  (event_pulse[EventArrayI]),
    .second_released_o(event_pulse[EventArrayR]),
    .block_done_o     (event_pulse[EventArrayAcc]),
    .instr_done_o     (event_pulse[EventArrayDone]),
    .done_layer_o     (retired_layer_o[Array]),
    .idle_o           (array_idle),
    .busy_o           (array_busy),
    .macs_o           (macs),
    .stall_tile_o     (stall_tile),
    .stall_acc_o      (stall_acc),
    .stall_weights_o  (stall_weights)
  );

  acc_mem u_acc (
    .clk_i,
    .array_rd_i     (acc_rd),
    .array_rd_half_i(acc_rd_half),
    .array_rd_addr_i(acc_rd_addr),
    .array_data_o   (acc_rdata),
    .array_we_i     (acc_we),
    .array_wr_half_i(acc_wr_half),
    .array_wr_addr_i(acc_wr_addr),
    .array_wr_data_i(acc_wdata),
    .vector_rd_i    (vacc_rd),
    .vector_half_i  (vacc_half),
    .vector_addr_i  (vacc_addr),
    .vector_data_o  (vacc_data)
  );

  // Vector.
  logic [31:0] vacc_words [Cols], p_words [Cols];
  for (genvar c = 0; c < Cols; c++) begin : gen_words
    assign vacc_words[c] = vacc_data[c*32 +: 32];
    assign p_words[c]    = p_data[c*32 +: 32];
  end

  logic vector_idle, vector_busy, vector_op, vector_param, illegal_op;
  logic [4:0] vector_stall;

  vector_engine u_vector (
    .clk_i,
    .rst_ni         (engine_rst_n),
    .instr_valid_i      (instr_valid[Vector]),
    .instr_i            (vector_instr),
    .take_o             (instr_take[Vector]),
    .payload_valid_i    (payload_valid),
    .payload_data_i     (payload_data),
    .payload_ready_o    (payload_ready),
    .illegal_o          (illegal_op),
    .counters_i         (events_q),
    .acc_free_o         (event_pulse[EventVectorAcc]),
    .i_free_o           (event_pulse[EventVectorI]),
    .r_free_o           (event_pulse[EventVectorR]),
    .out_o              (event_pulse[EventVectorOut]),
    .done_o             (event_pulse[EventVectorDone]),
    .done_layer_o       (retired_layer_o[Vector]),
    .rd_valid_o         (act_valid[VectorRead]),
    .rd_addr_o          (act_addr[VectorRead]),
    .rd_ready_i         (act_ready[VectorRead]),
    .rd_data_i          (act_rdata[VectorRead]),
    .wr_valid_o         (act_valid[VectorWrite]),
    .wr_addr_o          (act_addr[VectorWrite]),
    .wr_data_o          (act_wdata[VectorWrite]),
    .wr_mask_o          (act_mask[VectorWrite]),
    .acc_rd_o           (vacc_rd),
    .acc_half_o         (vacc_half),
    .acc_addr_o         (vacc_addr),
    .acc_data_i         (vacc_words),
    .par_rd_o           (p_rd),
    .par_addr_o         (p_addr),
    .par_data_i         (p_words),
    .p_written_i        (p_written),
    .p_freed_o          (p_freed),
    .idle_o             (vector_idle),
    .perf_busy_o        (vector_busy),
    .perf_op_o          (vector_op),
    .perf_param_o       (vector_param),
    .perf_stall_source_o(vector_stall[0]),
    .perf_stall_sink_o  (vector_stall[1]),
    .perf_stall_param_o (vector_stall[2]),
    .perf_stall_act_o   (vector_stall[3]),
    .perf_stall_depend_o(vector_stall[4])
  );

  // Store.
  logic        store_idle, write_error;
  logic              store_beat;
  logic [LineIdxW:0] store_bytes;
  logic [3:0]        store_wait;

  store_engine u_store (
    .clk_i,
    .rst_ni       (engine_rst_n),
    .tensors_base_i(base_q),
    .instr_valid_i(instr_valid[Store]),
    .instr_i      (store_instr),
    .instr_take_o (instr_take[Store]),
    .counters_i   (events_q),
    .act_valid_o  (act_valid[StoreRead]),
    .act_ready_i  (act_ready[StoreRead]),
    .act_addr_o   (act_addr[StoreRead]),
    .act_data_i   (act_rdata[StoreRead]),
    .aw_valid_o   (aw_valid),
    .aw_ready_i   (aw_ready),
    .aw_addr_o,
    .aw_len_o,
    .w_valid_o    (w_valid),
    .w_ready_i    (w_ready),
    .w_data_o,
    .w_strb_o     (w_strb),
    .w_last_o     (w_last),
    .b_valid_i    (b_valid),
    .b_ready_o    (b_ready),
    .b_resp_i,
    .store_free_o (event_pulse[EventStoreFree]),
    .store_done_o (event_pulse[EventStoreDone]),
    .done_layer_o (retired_layer_o[Store]),
    .idle_o       (store_idle),
    .error_o      (write_error),
    .beat_o       (store_beat),
    .bytes_o      (store_bytes),
    .wait_event_o (store_wait[0]),
    .wait_bus_o   (store_wait[1]),
    .wait_act_o   (store_wait[2]),
    .wait_w_o     (store_wait[3])
  );

  assign retired_o = {event_pulse[EventStoreDone], event_pulse[EventVectorDone],
                      event_pulse[EventArrayDone], event_pulse[EventLoadDone]};

  // What the queues offer. The verdict is used a cycle later: an engine that has taken such an
  // instruction by then asks for nothing before the job is stopped, and the layer still stands.
  logic [3:0]       illegal, illegal_q;
  logic [3:0][15:0] offered_layer;

  instr_check u_check (
    .valid_i  (instr_valid),
    .load_i   (load_instr),
    .array_i  (array_instr),
    .vector_i (vector_instr),
    .store_i  (store_instr),
    .illegal_o(illegal),
    .layer_o  (offered_layer)
  );

  always_ff @(posedge clk_i) begin
    if (!engine_rst_n) illegal_q <= '0;
    else illegal_q <= illegal;
  end

  // The job: done when the program has ended and nothing is under way, or when it is given up.
  logic        fetched_q, quiet, stop, held, drained, outside_read, outside_write, moves;

  assign quiet = fetched_q && queue_idle == '1 && load_idle && array_idle && vector_idle
                 && store_idle && read_idle && beat_valid == '0;

  always_ff @(posedge clk_i) begin
    if (!engine_rst_n) fetched_q <= 1'b0;
    else if (running && fetch_done) fetched_q <= 1'b1;
  end

  job_control u_job (
    .clk_i,
    .rst_ni,
    .start_i,
    .quiet_i         (quiet),
    .stop_i,
    .done_o,
    .idle_o,
    .running_o       (running),
    .stop_o          (stop),
    .flush_o         (flush),
    .held_i          (held),
    .drained_i       (drained),
    .job_limit_i     (job_limit_q),
    .progress_limit_i(progress_limit_q),
    .progress_i      (moves || event_pulse != '0 || array_busy || vector_op),
    .fetch_error_i   (fetch_error),
    .illegal_i       (illegal_q | (4'(illegal_op) << Vector)),
    .layer_i         (offered_layer),
    .outside_read_i  (outside_read),
    .read_addr_i     (ar_addr_o),
    .outside_write_i (outside_write),
    .write_addr_i    (aw_addr_o),
    .read_error_i    (read_error),
    .write_error_i   (write_error),
    .error_o,
    .cause_o
  );

  bus_guard u_guard (
    .clk_i,
    .rst_ni,
    .run_i          (running),
    .stop_i         (stop),
    .held_o         (held),
    .drained_o      (drained),
    .outside_read_o (outside_read),
    .outside_write_o(outside_write),
    .moves_o        (moves),
    .bus_rst_no,
    .read_first_i   ({1'b0, base_q[AxiAddrW-1:LineIdxW]}),
    .read_end_i     (read_end_q),
    .write_first_i  (write_first_q),
    .write_end_i    (write_end_q),
    .ar_valid_i     (ar_valid),
    .ar_ready_o     (ar_ready),
    .ar_id_i        (ar_id_o),
    .ar_addr_i      (ar_addr_o),
    .ar_len_i       (ar_len_o),
    .r_valid_o      (r_valid),
    .r_ready_i      (r_ready),
    .aw_valid_i     (aw_valid),
    .aw_ready_o     (aw_ready),
    .aw_addr_i      (aw_addr_o),
    .aw_len_i       (aw_len_o),
    .w_valid_i      (w_valid),
    .w_ready_o      (w_ready),
    .w_strb_i       (w_strb),
    .w_last_i       (w_last),
    .b_valid_o      (b_valid),
    .bus_ar_valid_o (ar_valid_o),
    .bus_ar_ready_i (ar_ready_i),
    .bus_r_valid_i  (r_valid_i),
    .bus_r_ready_o  (r_ready_o),
    .bus_r_last_i   (r_last_i),
    .bus_aw_valid_o (aw_valid_o),
    .bus_aw_ready_i (aw_ready_i),
    .bus_w_valid_o  (w_valid_o),
    .bus_w_ready_i  (w_ready_i),
    .bus_w_strb_o   (w_strb_o),
    .bus_w_last_o   (w_last_o),
    .bus_b_valid_i  (b_valid_i),
    .bus_b_ready_o  (b_ready_o)
  );

  // Performance counters. The vector unit holds a read until its line is issued.
  localparam int unsigned FirstLoadWait = 32'(CounterLoadWaitRing),
                          FirstVectorWait = 32'(CounterVectorWaitSource),
                          FirstStoreWait = 32'(CounterStoreWaitEvent);
  localparam int unsigned Memories = 4;
  localparam int unsigned MacsW = $bits(array_pkg::macs_t);
  localparam int unsigned IncrementW = MacsW > LineIdxW + 1 ? MacsW : LineIdxW + 1;

  function automatic logic [NumCounters-1:0][7:0] increment_bits();
    increment_bits = {NumCounters{8'd1}};
    increment_bits[CounterMacsLow] = 8'(MacsW);
    increment_bits[CounterLoadBytes] = 8'(LineIdxW + 1);
    increment_bits[CounterStoreBytes] = 8'(LineIdxW + 1);
    for (int unsigned m = 0; m < 2 * Memories; m++) begin
      if (m != 32'(CounterWbufReads - CounterActReads)
          && m != 32'(CounterWbufWrites - CounterActReads)) begin
        increment_bits[32'(CounterActReads) + m] = 8'd3;
      end
    end
  endfunction

  logic [Memories-1:0][2:0]                 reads, writes;
  logic [NumCounters-1:0][IncrementW-1:0]   increments;
  logic [31:0]                              count;

  always_comb begin
    reads = '0;
    writes = '0;
    for (int unsigned p = 0; p < FeedPorts; p++) reads[0] = reads[0] + 3'(feed_valid[p]);
    for (int unsigned c = 0; c < Clients; c++) begin
      if (Writers[c]) writes[0] = writes[0] + 3'(act_valid[c] && act_ready[c]);
      else reads[0] = reads[0] + 3'(act_valid[c] && act_ready[c]);
    end
    reads[1] = 3'(w_rd);
    writes[1] = 3'(wbuf_we);
    reads[2] = 3'(acc_rd) + 3'(vacc_rd && vector_op);
    writes[2] = 3'(acc_we);
    reads[3] = 3'(p_rd && vector_param);
    writes[3] = 3'(param_we && param_quarter == 2'd3);
  end

  always_comb begin
    increments = '0;
    increments[CounterCycles]           = IncrementW'(running);
    increments[CounterArraySteps]       = IncrementW'(array_busy);
    increments[CounterArrayWaitTile]    = IncrementW'(stall_tile);
    increments[CounterArrayWaitAcc]     = IncrementW'(stall_acc);
    increments[CounterArrayWaitWeights] = IncrementW'(stall_weights);
    increments[CounterMacsLow]          = IncrementW'(macs);
    increments[CounterLoadBeats]        = IncrementW'(load_beat);
    increments[CounterLoadBytes]        = IncrementW'(load_bytes);
    increments[CounterVectorBusy]       = IncrementW'(vector_busy);
    increments[CounterVectorOps]        = IncrementW'(vector_op || vector_param);
    increments[CounterStoreBeats]       = IncrementW'(store_beat);
    increments[CounterStoreBytes]       = IncrementW'(store_bytes);
    for (int unsigned i = 0; i < 5; i++) begin
      increments[FirstLoadWait+i]   = IncrementW'(load_wait[i]);
      increments[FirstVectorWait+i] = IncrementW'(vector_stall[i]);
    end
    for (int unsigned i = 0; i < 4; i++) begin
      increments[FirstStoreWait+i] = IncrementW'(store_wait[i]);
    end
    for (int unsigned m = 0; m < Memories; m++) begin
      increments[32'(CounterActReads) + 2 * m]  = IncrementW'(reads[m]);
      increments[32'(CounterActWrites) + 2 * m] = IncrementW'(writes[m]);
    end
  end

  // They keep what they have when a job is given up.
  logic counters_rst_n;
  assign counters_rst_n = rst_ni && !start_i;

  perf_counters #(
    .COUNTERS(NumCounters),
    .WIDTH   (IncrementW),
    .BITS    (increment_bits()),
    .CHAINED (32'(CounterMacsHigh))
  ) u_counters (
    .clk_i,
    .rst_ni      (counters_rst_n),
    .increments_i(increments),
    .valid_o     (count_valid_o),
    .index_o     (count_index_o),
    .count_o     (count)
  );

  // The error passes by in its place.
  assign count_o = count_index_o == CounterW'(CounterErrors) ? error_o : count;

  // Only the vector unit has payloads; addresses are taken modulo the ring.
  logic unused;
  assign unused = ^{b_ready, no_payload_valid, no_payload_data, w_addr, act_ready[VectorWrite],
                    act_rdata[VectorWrite], act_rdata[LoadWrite], p_data};

endmodule
