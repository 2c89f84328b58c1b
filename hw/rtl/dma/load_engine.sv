// Load engine: walks the tile loops of a load instruction, waits for room and events, and requests
// bursts. What a burst is for goes through a FIFO to load_deliver, which takes the data when it
// comes; so requests run ahead of data, also from instruction to instruction.
//
// Cycle by cycle (request = a cycle in which req_valid_o && req_ready_i):
//   Idle  takes the instruction (instr_valid_i high) in cycle c; Pick follows in c + 1.
//   Pick  one cycle for each reference that fires, in the order weights, params, source, second,
//         and one at the end of each iteration, which steps the loops, or after the last iteration
//         passes the retirement on (Idle follows; this waits for the FIFO).
//   Go    one cycle; for source and second also the cycles until `retired` and `ready` are
//         reached. A reference without a byte to load (all clipped, no lines) ends here (a clipped
//         one waits for the FIFO); Pick follows.
//   Run   first the clipped rows and columns at the front of the tile, one cycle each, then one
//         burst a cycle; a burst waits for ring room, for the request buffer of dma_read and for
//         the FIFO. Pick follows the cycle of the last burst.
// So a reference with b bursts takes 2 + skipped + b cycles when it waits nowhere. Ring room counts
// the lines that w_freed_i and p_freed_i show in the cycle of the request.
//
// From request to memory: request in cycle c, AR from c + 1; an R beat in cycle d is written from
// d + 1, and a read or an event counter sees it from d + 2.
//
// Counters and ring pointers run from reset: the engines are reset at each start of a program.

module load_engine
  import df_pkg::*;
  import dma_pkg::*;
#(
  localparam int unsigned WbufAddrW  = $clog2(WbufLines),
  localparam int unsigned ParamAddrW = $clog2(ParamLines)
) (
  input  logic                             clk_i,
  input  logic                             rst_ni,

  input  logic [AxiAddrW-1:0]              tensors_base_i,  // line aligned
  input  logic                             instr_valid_i,
  input  load_t                            instr_i,
  output logic                             instr_take_o,
  input  logic [NumEvents-1:0][EventW-1:0] counters_i,

  output logic                             req_valid_o,
  input  logic                             req_ready_i,
  output logic [AxiAddrW-1:0]              req_addr_o,
  output logic [7:0]                       req_len_o,
  input  logic                             r_valid_i,
  output logic                             r_ready_o,
  input  logic [LineBits-1:0]              r_data_i,

  output logic                             wbuf_we_o,
  output logic [WbufAddrW-1:0]             wbuf_addr_o,
  output logic [LineBits-1:0]              wbuf_data_o,
  output logic [EventW-1:0]                w_written_o,  // lines whose data a read now sees
  input  logic [EventW-1:0]                w_freed_i,    // lines freed so far

  output logic                             param_we_o,
  output logic [ParamAddrW-1:0]            param_addr_o,
  output logic [1:0]                       param_quarter_o,
  output logic [LineBits-1:0]              param_data_o,
  output logic [EventW-1:0]                p_written_o,  // whole lines
  input  logic [EventW-1:0]                p_freed_i,

  output logic                             act_valid_o,
  input  logic                             act_ready_i,
  output logic [23:0]                      act_addr_o,   // of lane 0, which may lie before the tile
  output logic [LineBits-1:0]              act_data_o,
  output logic [LineBytes-1:0]             act_mask_o,

  output logic                             load_i_o,     // events, one cycle each
  output logic                             load_r_o,
  output logic                             load_done_o,
  output logic [15:0]                      done_layer_o,
  output logic                             idle_o,

  output logic                             beat_o,       // tensor data delivered
  output logic [LineIdxW:0]                bytes_o,
  output logic                             wait_ring_o,   // cycles, issuing side: no ring room
  output logic                             wait_event_o,  // an event or a retirement
  output logic                             wait_bus_o,    // the request buffer or the FIFO is full
  output logic                             wait_data_o,   // cycles, delivering side: no data yet
  output logic                             wait_act_o     // the activation memory's banks are busy
);

  localparam int unsigned MetaDepth = OutstandingReads > 16 ? 2 * OutstandingReads : 32;
  localparam int unsigned QuarterW  = EventW + 2;

  if (MaxBurst > WbufLines || MaxBurst > 4 * ParamLines) begin : gen_ring_check
    $error("a burst of %0d beats exceeds a ring: %0d weight lines, %0d parameter lines of 4 beats",
           MaxBurst, WbufLines, ParamLines);
  end

  typedef enum logic [1:0] {
    Idle,
    Pick,
    Go,
    Run
  } state_e;

  state_e     state_q;
  // The version, unit, flags and length of the header have been used up by fetch and queue.
  // verilator lint_off UNUSEDSIGNAL
  load_t      instr_q;
  // verilator lint_on UNUSEDSIGNAL
  logic [3:0] done_q;    // references of this iteration that are finished
  reference_e chosen_q;

  // Loops and addresses.

  logic [Levels-1:0]         first, last;
  logic                      all_last, load, step;
  logic [$clog2(Levels)-1:0] level;

  loop_nest #(
    .Levels(Levels)
  ) u_loops (
    .clk_i,
    .load_i     (load),
    .new_trips_i(instr_i.trips),
    .trips_i    (instr_q.trips),
    .step_i     (step),
    .first_o    (first),
    .last_o     (last),
    .all_last_o (all_last),
    .level_o    (level)
  );

  // [0] is weights or source, [1] is params or second.
  ring_t               ring        [2];
  block_t              block       [2];
  block_t              block_new   [2];
  logic [AxiAddrW-1:0] ring_base   [2];
  logic [AxiAddrW-1:0] ring_dram   [2];
  logic [23:0]         block_local [2];
  logic [AxiAddrW-1:0] block_dram  [2];
  logic signed [31:0]  block_y     [2];
  logic signed [31:0]  block_x     [2];
  logic signed [31:0]  block_z     [2];
  logic                reached     [2];
  logic                fire        [2];

  assign ring[0] = instr_q.weights;
  assign ring[1] = instr_q.params;
  assign ring_base[0] = instr_i.weights.base;
  assign ring_base[1] = instr_i.params.base;
  assign block[0] = instr_q.source;
  assign block[1] = instr_q.second;
  assign block_new[0] = instr_i.source;
  assign block_new[1] = instr_i.second;

  for (genvar g = 0; g < 2; g++) begin : gen_addresses
    nest_agu #(
      .Width (AxiAddrW),
      .Levels(Levels)
    ) u_ring (
      .clk_i,
      .load_i   (load),
      .base_i   (ring_base[g]),
      .steps_i  (ring[g].strides),
      .step_i   (step),
      .level_i  (level),
      .value_o  (ring_dram[g])
    );

    block_addresses #(
      .EVENTS(NumEvents'(g == 0 ? EventsFreedFirst : EventsFreedSecond))
    ) u_block (
      .clk_i,
      .load_i (load),
      .step_i (step),
      .level_i(level),
      .fire_i (fire[g]),
      .new_i  (block_new[g]),
      .block_i(block[g]),
      .local_o(block_local[g]),
      .dram_o (block_dram[g]),
      .y_o    (block_y[g]),
      .x_o    (block_x[g]),
      .z_o    (block_z[g]),
      .counters_i,
      .reached_o(reached[g])
    );
  end

  // References that fire in this iteration and are not finished.

  logic [3:0] pending;

  always_comb begin
    for (int unsigned g = 0; g < 2; g++) begin
      pending[g] = ring[g].enable && all_from(first, ring[g].depth) && !done_q[g];
      pending[2+g] = block[g].tile.enable && all_from(first, block[g].tile.depth) && !done_q[2+g];
    end
  end

  // The chosen reference.

  logic        is_tile, which, ready, none, empty;
  logic [15:0] skip_y, skip_x, count_y, count_x;
  logic [31:0] skip_z, count_z;
  logic [19:0] lines_q;  // of the ring's block

  assign is_tile = chosen_q == RefSource || chosen_q == RefSecond;
  assign which = chosen_q == RefParams || chosen_q == RefSecond;
  assign empty = is_tile ? none : lines_q == '0;

  // Field by field: most of a block is no choice.
  logic [15:0] y_count [2], x_count [2];
  logic [31:0] z_count [2];

  for (genvar g = 0; g < 2; g++) begin : gen_counts
    assign y_count[g] = block[g].y_count[ragged(last, block[g].y_level)];
    assign x_count[g] = block[g].x_count[ragged(last, block[g].x_level)];
    assign z_count[g] = block[g].z_count[ragged(last, block[g].z_level)];
  end

  // What Go looks at of the reference that Pick may choose stands in registers by then.
  logic tile_next, ring_next;

  assign tile_next = !pending[RefSource];
  assign ring_next = !pending[RefWeights];

  always_ff @(posedge clk_i) begin
    if (state_q == Pick) begin
      lines_q <= ring[ring_next].lines[{ragged(last, instr_q.k_level),
                                        ragged(last, instr_q.n_level)}];
    end
  end

  block_extent u_extent (
    .clk_i,
    .sample_i  (state_q == Pick),
    .y_size_i  (block[tile_next].y_size),
    .x_size_i  (block[tile_next].x_size),
    .z_size_i  (block[tile_next].z_size),
    .y_count_i (y_count[tile_next]),
    .x_count_i (x_count[tile_next]),
    .z_count_i (z_count[tile_next]),
    .retired_i (block[which].retired),
    .reached_i (reached[which]),
    .y_i       (block_y[tile_next]),
    .x_i       (block_x[tile_next]),
    .z_i       (block_z[tile_next]),
    .counters_i,
    .ready_o   (ready),
    .none_o    (none),
    .y_skip_o  (skip_y),
    .y_count_o (count_y),
    .x_skip_o  (skip_x),
    .x_count_o (count_x),
    .z_skip_o  (skip_z),
    .z_count_o (count_z)
  );

  // Bursts. A block of a ring is one row, one column.

  logic                go, start, waits, room, request;
  logic                walk_valid, walk_ready, walk_last;
  logic [8:0]          walk_beats;
  logic [23:0]         walk_local;
  logic [LineIdxW-1:0] walk_offset;
  logic [LineIdxW-1:0] walk_pad;

  block_walker u_walker (
    .clk_i,
    .rst_ni,
    .start_i       (start),
    .dram_i        (tensors_base_i + (is_tile ? block_dram[which] + skip_z : ring_dram[which])),
    .local_i       (block_local[which] + 24'(skip_z)),
    .y_skip_i      (is_tile ? skip_y : '0),
    .y_count_i     (is_tile ? count_y : 16'd1),
    .x_skip_i      (is_tile ? skip_x : '0),
    .x_count_i     (is_tile ? count_x : 16'd1),
    .z_count_i     (is_tile ? count_z : 32'(lines_q) << (which ? LineIdxW + 2 : LineIdxW)),
    .y_dram_i      (block[which].y_dram),
    .x_dram_i      (block[which].x_dram),
    .y_local_i     (block[which].y_local),
    .x_local_i     (block[which].x_local),
    .burst_valid_o (walk_valid),
    .burst_ready_i (walk_ready),
    .burst_addr_o  (req_addr_o),
    .burst_beats_o (walk_beats),
    .burst_local_o (walk_local),
    .burst_offset_o(walk_offset),
    .burst_pad_o   (walk_pad),
    .burst_last_o  (walk_last)
  );

  // Ring room.

  // Lines of the ring (quarter lines) less those requested; together with those freed.
  logic [EventW-1:0]   w_room_q, w_room;
  logic [QuarterW-1:0] p_room_q, p_room;

  // Differences, so that they stay chains of carries.
  (* keep *) logic [EventW:0]   w_spare;
  (* keep *) logic [QuarterW:0] p_spare;

  assign w_spare = {1'b0, w_room} - (EventW + 1)'(walk_beats);
  assign p_spare = {1'b0, p_room} - (QuarterW + 1)'(walk_beats);
  assign w_room = w_room_q + w_freed_i;
  assign p_room = p_room_q + {p_freed_i, 2'b00};

  always_comb begin
    unique case (chosen_q)
      RefWeights: room = !w_spare[EventW];
      RefParams:  room = !p_spare[QuarterW];
      default:    room = 1'b1;
    endcase
  end

  // To the delivering side.

  logic   meta_in_valid, meta_in_ready, meta_out_valid, meta_out_ready, null_entry;
  burst_t meta_in, meta_out;

  fifo #(
    .Width       ($bits(burst_t)),
    .Depth       (MetaDepth),
    .HeadRegister(1'b1)
  ) u_meta (
    .clk_i,
    .rst_ni,
    .in_valid_i (meta_in_valid),
    .in_ready_o (meta_in_ready),
    .in_data_i  (meta_in),
    .out_valid_o(meta_out_valid),
    .out_ready_i(meta_out_ready),
    .out_data_o (meta_out)
  );

  load_deliver u_deliver (
    .clk_i,
    .rst_ni,
    .burst_valid_i  (meta_out_valid),
    .burst_ready_o  (meta_out_ready),
    .burst_i        (meta_out),
    .r_valid_i,
    .r_ready_o,
    .r_data_i,
    .wbuf_we_o,
    .wbuf_addr_o,
    .param_we_o,
    .param_addr_o,
    .param_quarter_o,
    .act_valid_o,
    .act_ready_i,
    .act_addr_o,
    .act_mask_o,
    .data_o         (act_data_o),
    .w_written_o,
    .p_written_o,
    .load_i_o,
    .load_r_o,
    .load_done_o,
    .done_layer_o,
    .beat_o,
    .bytes_o,
    .wait_data_o,
    .wait_act_o
  );

  assign wbuf_data_o = act_data_o;
  assign param_data_o = act_data_o;

  // Sequence.

  logic retire;

  assign load = state_q == Idle && instr_valid_i;
  assign instr_take_o = load;
  assign step = state_q == Pick && pending == '0 && !all_last;
  assign retire = state_q == Pick && pending == '0 && all_last;
  assign waits = state_q == Go && is_tile && !ready;
  assign null_entry = state_q == Go && is_tile && !waits && empty;
  assign go = state_q == Go && !waits && (!null_entry || meta_in_ready);
  assign start = go && !empty;
  assign fire[0] = go && chosen_q == RefSource;
  assign fire[1] = go && chosen_q == RefSecond;

  assign req_valid_o = walk_valid && room && meta_in_ready;
  assign req_len_o = 8'(walk_beats - 9'd1);
  assign walk_ready = room && meta_in_ready && req_ready_i;
  assign request = walk_valid && walk_ready;

  assign meta_in_valid = request || null_entry || retire;

  always_comb begin
    meta_in = '{
        kind: chosen_q,
        span: '{
            on_chip: walk_local,
            offset: walk_offset,
            pad: walk_pad,
            beats: walk_beats,
            data: walk_valid,
            single: walk_beats == 9'd1
        },
        last: null_entry || (walk_valid && walk_last),
        retire: retire
    };
    if (retire) meta_in.span.on_chip = 24'(instr_q.header.layer);
  end

  assign idle_o = state_q == Idle && !meta_out_valid;

  always_ff @(posedge clk_i) begin
    if (load) instr_q <= instr_i;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      done_q <= '0;
      w_room_q <= EventW'(WbufLines);
      p_room_q <= QuarterW'(4 * ParamLines);
    end else begin
      if (request && chosen_q == RefWeights) w_room_q <= w_room_q - EventW'(walk_beats);
      if (request && chosen_q == RefParams) p_room_q <= p_room_q - QuarterW'(walk_beats);
      unique case (state_q)
        Idle: begin
          done_q <= '0;
          if (instr_valid_i) state_q <= Pick;
        end
        Pick: begin
          if (pending != '0) begin
            state_q <= Go;
            chosen_q <= pending[RefWeights] ? RefWeights
                        : pending[RefParams] ? RefParams
                        : pending[RefSource] ? RefSource : RefSecond;
          end else if (step || meta_in_ready) begin
            done_q <= '0;
            if (all_last) state_q <= Idle;
          end
        end
        Go: begin
          if (go) begin
            done_q[chosen_q] <= 1'b1;
            state_q <= empty ? Pick : Run;
          end
        end
        default: begin
          if (request && walk_last) state_q <= Pick;
        end
      endcase
    end
  end

  // Where the issuing side waits.

  assign wait_ring_o = walk_valid && !room;
  assign wait_event_o = waits;
  assign wait_bus_o = walk_valid && room && !(meta_in_ready && req_ready_i);

endmodule
