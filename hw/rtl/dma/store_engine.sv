// Store engine: walks the tile loops of a store instruction and writes tiles from the activation
// memory to DRAM, as AXI4 write master (one ID, INCR bursts, byte strobes on partial beats).
//
// Cycle by cycle (request = a cycle in which a burst goes to the AW buffer and to store_collect):
//   Idle  takes the instruction (instr_valid_i high) in cycle c; Pick follows in c + 1.
//   Pick  one cycle; Go follows when the tile fires in this iteration and has not been stored. Else
//         it steps the loops, or after the last iteration passes the retirement on (Idle follows;
//         this waits for room in the retirement FIFO).
//   Go    one cycle plus the cycles until `retired` and `ready` are reached. A tile of zero rows,
//         columns or bytes ends here (and waits for room in the FIFO); Pick follows.
//   Run   one burst a cycle; a burst waits for the AW buffer and for the FIFO to store_collect.
//         Pick follows the cycle of the last burst.
// So a tile of b bursts takes 3 + b cycles when it waits nowhere (Pick, Go, b, Pick).
//
// Request in cycle c: AW from c + 1; store_collect asks for the first beat from c + 1 and offers it
// as W in c + 4 at the earliest, then one beat a cycle, from burst to burst without a gap.
// store_free_o: in the cycle of the grant of the tile's last read. store_done_o: in the cycle after
// the handshake of the instruction's last B, or after the Pick that passed its retirement on,
// whichever is later; later instructions may be under way by then.
//
// Counters run from reset: the engines are reset at each start of a program.

module store_engine
  import df_pkg::*;
  import dma_pkg::*;
(
  input  logic                             clk_i,
  input  logic                             rst_ni,

  input  logic [AxiAddrW-1:0]              tensors_base_i,  // line aligned
  input  logic                             instr_valid_i,
  input  store_t                           instr_i,
  output logic                             instr_take_o,
  input  logic [NumEvents-1:0][EventW-1:0] counters_i,

  output logic                             act_valid_o,
  input  logic                             act_ready_i,
  output logic [23:0]                      act_addr_o,   // of lane 0, which may lie before the tile
  input  logic [LineBits-1:0]              act_data_i,   // two cycles after the grant

  output logic                             aw_valid_o,
  input  logic                             aw_ready_i,
  output logic [AxiAddrW-1:0]              aw_addr_o,
  output logic [7:0]                       aw_len_o,
  output logic                             w_valid_o,
  input  logic                             w_ready_i,
  output logic [LineBits-1:0]              w_data_o,
  output logic [LineBytes-1:0]             w_strb_o,
  output logic                             w_last_o,
  input  logic                             b_valid_i,
  output logic                             b_ready_o,
  input  logic [1:0]                       b_resp_i,

  output logic                             store_free_o,  // events, one cycle each
  output logic                             store_done_o,
  output logic [15:0]                      done_layer_o,
  output logic                             idle_o,
  output logic                             error_o,       // a response was not OKAY, until reset

  output logic                             beat_o,       // tensor data read for W
  output logic [LineIdxW:0]                bytes_o,       // bytes with their strobe set
  output logic                             wait_event_o,  // cycles, issuing side: event, retirement
  output logic                             wait_bus_o,    // the AW buffer or the FIFO is full
  output logic                             wait_act_o,    // cycles, moving side: banks are busy
  output logic                             wait_w_o       // the W channel does not take the data
);

  localparam int unsigned BurstDepth  = 8;
  localparam int unsigned RetireDepth = 4;
  localparam int unsigned CountW      = 16;  // fewer than 2^15 bursts are under way

  typedef enum logic [1:0] {
    Idle,
    Pick,
    Go,
    Run
  } state_e;

  state_e state_q;
  // The version, unit, flags and length of the header have been used up by fetch and queue.
  // verilator lint_off UNUSEDSIGNAL
  store_t instr_q;
  // verilator lint_on UNUSEDSIGNAL
  logic   stored_q;  // the tile of this iteration has been walked

  // Loops and addresses.

  logic [Levels-1:0]         first, last;
  logic                      all_last, load, step, fire;
  logic [$clog2(Levels)-1:0] level;
  logic [23:0]               tile, slot;
  logic [AxiAddrW-1:0]       dram;

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

  nest_agu #(
    .Width (24),
    .Levels(Levels)
  ) u_tile (
    .clk_i,
    .load_i   (load),
    .base_i   (instr_i.tile.base),
    .steps_i  (instr_q.tile.strides),
    .step_i   (step),
    .level_i  (level),
    .value_o  (tile)
  );

  nest_agu #(
    .Width (AxiAddrW),
    .Levels(Levels)
  ) u_dram (
    .clk_i,
    .load_i   (load),
    .base_i   (instr_i.dram),
    .steps_i  (instr_q.dram_strides),
    .step_i   (step),
    .level_i  (level),
    .value_o  (dram)
  );

  tile_slots #(
    .Width(24)
  ) u_slots (
    .clk_i,
    .load_i      (load),
    .fire_i      (fire),
    .slots_i     (instr_q.tile.slots),
    .slot_bytes_i(instr_q.tile.slot_bytes),
    .offset_o    (slot)
  );

  // The tile.

  logic        pending, reached, waits, empty;
  logic [15:0] rows, columns;
  logic [31:0] segment;

  assign pending = instr_q.tile.enable && all_from(first, instr_q.tile.depth) && !stored_q;
  assign rows = instr_q.y_count[ragged(last, instr_q.y_level)];
  assign columns = instr_q.x_count[ragged(last, instr_q.x_level)];
  assign segment = instr_q.z_count[ragged(last, instr_q.z_level)];
  assign empty = rows == '0 || columns == '0 || segment == '0;

  event_wait #(.EVENTS(NumEvents'(EventsFilled))) u_wait (
    .clk_i,
    .load_i    (load),
    .new_i     (instr_i.tile.ready),
    .wait_i    (instr_q.tile.ready),
    .fire_i    (fire),
    .counters_i,
    .reached_o (reached)
  );

  // Bursts.

  logic                start, request;
  logic                walk_valid, walk_ready, walk_last;
  logic [AxiAddrW-1:0] walk_addr;
  logic [8:0]          walk_beats;
  logic [23:0]         walk_local;
  logic [LineIdxW-1:0] walk_offset;
  logic [LineIdxW-1:0] walk_pad;

  block_walker #(
    .Skips(1'b0)
  ) u_walker (
    .clk_i,
    .rst_ni,
    .start_i       (start),
    .dram_i        (tensors_base_i + dram),
    .local_i       (tile + slot),
    .y_skip_i      (16'd0),
    .y_count_i     (rows),
    .x_skip_i      (16'd0),
    .x_count_i     (columns),
    .z_count_i     (segment),
    .y_dram_i      (instr_q.y_dram),
    .x_dram_i      (instr_q.x_dram),
    .y_local_i     (instr_q.y_local),
    .x_local_i     (instr_q.x_local),
    .burst_valid_o (walk_valid),
    .burst_ready_i (walk_ready),
    .burst_addr_o  (walk_addr),
    .burst_beats_o (walk_beats),
    .burst_local_o (walk_local),
    .burst_offset_o(walk_offset),
    .burst_pad_o   (walk_pad),
    .burst_last_o  (walk_last)
  );

  logic aw_in_ready;

  fifo #(
    .Width(AxiAddrW + 8),
    .Depth(2)
  ) u_address (
    .clk_i,
    .rst_ni,
    .in_valid_i (request),
    .in_ready_o (aw_in_ready),
    .in_data_i  ({walk_addr, 8'(walk_beats - 9'd1)}),
    .out_valid_o(aw_valid_o),
    .out_ready_i(aw_ready_i),
    .out_data_o ({aw_addr_o, aw_len_o})
  );

  // To the moving side.

  logic         burst_in_valid, burst_in_ready, burst_out_valid, burst_out_ready;
  logic         null_entry, null_done;
  write_burst_t burst_in, burst_out;

  fifo #(
    .Width($bits(write_burst_t)),
    .Depth(BurstDepth)
  ) u_bursts (
    .clk_i,
    .rst_ni,
    .in_valid_i (burst_in_valid),
    .in_ready_o (burst_in_ready),
    .in_data_i  (burst_in),
    .out_valid_o(burst_out_valid),
    .out_ready_i(burst_out_ready),
    .out_data_o (burst_out)
  );

  store_collect u_collect (
    .clk_i,
    .rst_ni,
    .burst_valid_i(burst_out_valid),
    .burst_ready_o(burst_out_ready),
    .burst_i      (burst_out),
    .act_valid_o,
    .act_ready_i,
    .act_addr_o,
    .act_data_i,
    .aw_taken_i   (aw_valid_o && aw_ready_i),
    .w_valid_o,
    .w_ready_i,
    .w_data_o,
    .w_strb_o,
    .w_last_o,
    .free_o       (store_free_o),
    .null_o       (null_done),
    .beat_o,
    .bytes_o,
    .wait_act_o,
    .wait_w_o
  );

  // Retirement: an instruction is finished when its bursts have been answered (in order) and its
  // entries without data have passed store_collect (in order, but maybe ahead of earlier answers).

  logic              retire, retire_in_ready, retire_valid;
  logic [CountW-1:0] bursts_q, answers_q, answers_wanted, answers_over;  // modulo
  logic [CountW-1:0] nulls_q, passed_q, passed_wanted, passed_over;

  fifo #(
    .Width(2 * CountW + 16),
    .Depth(RetireDepth)
  ) u_retire (
    .clk_i,
    .rst_ni,
    .in_valid_i (retire),
    .in_ready_o (retire_in_ready),
    .in_data_i  ({bursts_q, nulls_q, instr_q.header.layer}),
    .out_valid_o(retire_valid),
    .out_ready_i(store_done_o),
    .out_data_o ({answers_wanted, passed_wanted, done_layer_o})
  );

  assign answers_over = answers_q - answers_wanted;
  assign passed_over = passed_q - passed_wanted;
  assign store_done_o = retire_valid && !answers_over[CountW-1] && !passed_over[CountW-1];
  assign b_ready_o = 1'b1;

  // Sequence.

  logic go;

  assign load = state_q == Idle && instr_valid_i;
  assign instr_take_o = load;
  assign step = state_q == Pick && !pending && !all_last;
  assign retire = state_q == Pick && !pending && all_last;
  assign waits = state_q == Go && !(reached && all_retired(counters_i, instr_q.retired));
  assign null_entry = state_q == Go && !waits && empty;
  assign go = state_q == Go && !waits && (!empty || burst_in_ready);
  assign start = go && !empty;
  assign fire = go;
  assign walk_ready = aw_in_ready && burst_in_ready;
  assign request = walk_valid && walk_ready;
  assign burst_in_valid = request || null_entry;
  assign burst_in = '{
      span: '{
          on_chip: walk_local,
          offset: walk_offset,
          pad: walk_pad,
          beats: walk_beats,
          data: walk_valid,
          single: walk_beats == 9'd1
      },
      last: null_entry || (walk_valid && walk_last)
  };
  assign idle_o = state_q == Idle && !retire_valid;

  always_ff @(posedge clk_i) begin
    if (load) instr_q <= instr_i;
  end

  logic        error_q;

  assign error_o = error_q;
  assign wait_event_o = waits;
  assign wait_bus_o = walk_valid && !walk_ready;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      stored_q <= 1'b0;
      bursts_q <= '0;
      nulls_q <= '0;
      answers_q <= '0;
      passed_q <= '0;
      error_q <= 1'b0;
    end else begin
      if (request) bursts_q <= bursts_q + CountW'(1);
      if (null_entry && burst_in_ready) nulls_q <= nulls_q + CountW'(1);
      answers_q <= answers_q + CountW'(b_valid_i);
      passed_q <= passed_q + CountW'(null_done);
      if (b_valid_i && b_resp_i != 2'b00) error_q <= 1'b1;
      unique case (state_q)
        Idle: begin
          stored_q <= 1'b0;
          if (instr_valid_i) state_q <= Pick;
        end
        Pick: begin
          if (pending) begin
            state_q <= Go;
          end else if (step || retire_in_ready) begin
            stored_q <= 1'b0;
            if (all_last) state_q <= Idle;
          end
        end
        Go: begin
          if (go) begin
            stored_q <= 1'b1;
            state_q <= empty ? Pick : Run;
          end
        end
        default: begin
          if (request && walk_last) state_q <= Pick;
        end
      endcase
    end
  end

endmodule
