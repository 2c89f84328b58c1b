// Walks the tile loops of an array instruction and cuts each tile into passes.
//
// States, one cycle each: Tile (repeated while a wait is not reached), Port once for each tap that
// a pass takes, Push (repeated while a FIFO is full). A pass therefore costs 2 to 4 cycles here,
// which run while earlier passes stream. Between instructions: Idle one cycle.

module array_sequencer
  import df_pkg::*;
  import array_pkg::*;
(
  input  logic              clk_i,
  input  logic              rst_ni,

  input  logic              instr_valid_i,
  input  array_t            instr_i,
  output logic              instr_take_o,

  input  logic [15:0][23:0] counters_i,

  output logic              push_o,
  input  logic              room_i,
  output feed_t             feed_o,
  output load_weights_t     weights_o,

  output logic              idle_o,
  output logic              wait_tile_o,
  output logic              wait_acc_o
);

  typedef enum logic [2:0] {Idle, Start, Tile, Port, Push} state_e;

  state_e state_q;
  array_t cfg_q;

  logic retired;
  assign retired = all_retired(counters_i, instr_i.retired);
  assign instr_take_o = state_q == Idle && instr_valid_i && retired;
  assign idle_o = state_q == Idle && !instr_valid_i;

  // Tile loops and their addresses.
  logic              load, step;
  logic [Levels-1:0] first, last;
  logic              all_last;
  logic [2:0]        level;
  logic [23:0]       tile_base, second_base, y_base;
  logic [31:0]       x_base;

  assign load = state_q == Start;

  loop_nest #(.Levels(Levels)) u_nest (
    .clk_i, .load_i(load), .new_trips_i(cfg_q.trips), .trips_i(cfg_q.trips), .step_i(step),
    .first_o(first), .last_o(last), .all_last_o(all_last), .level_o(level)
  );
  nest_agu #(.Width(24), .Levels(Levels)) u_tile (
    .clk_i, .load_i(load), .base_i(cfg_q.tile.base), .steps_i(cfg_q.tile.strides),
    .step_i(step), .level_i(level), .value_o(tile_base)
  );
  nest_agu #(.Width(24), .Levels(Levels)) u_second (
    .clk_i, .load_i(load), .base_i(cfg_q.second.base), .steps_i(cfg_q.second.strides),
    .step_i(step), .level_i(level), .value_o(second_base)
  );
  nest_agu #(.Width(24), .Levels(Levels)) u_y (
    .clk_i, .load_i(load), .base_i(cfg_q.y), .steps_i(cfg_q.y_strides),
    .step_i(step), .level_i(level), .value_o(y_base)
  );
  nest_agu #(.Width(32), .Levels(Levels)) u_x (
    .clk_i, .load_i(load), .base_i(cfg_q.x), .steps_i(cfg_q.x_strides),
    .step_i(step), .level_i(level), .value_o(x_base)
  );

  // Blocks started less one, slots.
  logic signed [23:0] block_count_q;
  logic [23:0] tile_offset, second_offset;
  logic        fire_tile, fire_second;
  logic        tile_fires, second_fires, tile_ready, second_ready, acc_ready;
  logic        k_first, k_last;

  assign tile_fires   = cfg_q.tile.enable && all_from(first, cfg_q.tile.depth);
  assign second_fires = cfg_q.second.enable && all_from(first, cfg_q.second.depth);
  assign k_first      = cfg_q.k_level >= 3'(Levels) || first[cfg_q.k_level];
  assign k_last       = cfg_q.k_level >= 3'(Levels) || last[cfg_q.k_level];

  event_wait #(.EVENTS(NumEvents'(EventsFilled))) u_tile_wait (
    .clk_i, .load_i(load), .new_i(cfg_q.tile.ready), .wait_i(cfg_q.tile.ready),
    .fire_i(fire_tile), .counters_i, .reached_o(tile_ready)
  );
  event_wait #(.EVENTS(NumEvents'(EventsFilled))) u_second_wait (
    .clk_i, .load_i(load), .new_i(cfg_q.second.ready), .wait_i(cfg_q.second.ready),
    .fire_i(fire_second), .counters_i, .reached_o(second_ready)
  );

  // Block t may start when block t-2 has been read out: VectorAcc >= acc_base + t - 1.
  (* keep *) logic signed [24:0] acc_wanted;
  assign acc_wanted = $signed({1'b0, cfg_q.acc_base}) + 25'(block_count_q);
  assign acc_ready  = $signed({1'b0, counters_i[EventVectorAcc]}) >= acc_wanted;

  logic tile_go;
  assign tile_go = (!tile_fires || tile_ready) && (!second_fires || second_ready)
                   && (!k_first || acc_ready);
  assign wait_tile_o = state_q == Tile && !((!tile_fires || tile_ready)
                                            && (!second_fires || second_ready));
  assign wait_acc_o  = state_q == Tile && !wait_tile_o && k_first && !acc_ready;

  // Sizes of the current tile.
  logic        p_last, q_last, n_last, kl;
  logic [15:0] p_count_q, q_count_q, blocks_q;
  logic [23:0] segment_q;
  assign p_last  = ragged(last, cfg_q.p_level);
  assign q_last  = ragged(last, cfg_q.q_level);
  assign n_last  = ragged(last, cfg_q.n_level);
  assign kl      = ragged(last, cfg_q.k_level);

  // Position in the tile.
  logic [15:0] block_next_q, tap_a_q;
  logic        last_block_q;          // of the tile; block_next_q: the number of the next one
  logic [15:0] left_b_q;              // taps along b to come, this one included
  logic [23:0] block_addr_q;          // block * block_step
  logic [23:0] offset_q;              // byte of the segment
  step_t       a_pos_q, b_pos_q;      // of tap (a, 0) and (a, b)
  logic [7:0]  lane_q;
  logic [1:0]  port_q;
  acc_line_t   acc_line_q;
  logic        half_q;
  logic        taps_done_q, tile_first_pass_q;
  logic [23:0] pointer_q;
  logic [23:0] start_q [Levels];      // ring pointer where a level's first iteration began
  feed_t         feed_q;
  logic [23:0]   second_line_q;       // first stationary line of the pass
  logic [23:0]   second_block_q;      // stationary address of the block's first line
  // Accumulator lines of a block of this tile: the sum of two products that are half as deep.
  acc_line_t     lines_low_q, lines_high_q;

  logic [7:0] columns;
  assign columns = last_block_q ? cfg_q.columns_last[n_last] : cfg_q.columns;

  // One port of a flat pass.
  logic [23:0] left;
  logic [7:0]  room, take;
  logic        fits;
  assign left = segment_q - offset_q;
  assign room = 8'(Rows) - lane_q;
  assign fits = left[23:8] == '0 && left[7:0] <= room;
  assign take = fits ? left[7:0] : room;

  // FIR: taps along b of this pass.
  logic [7:0] fir_take;
  logic       b_wraps, a_wraps, tap_ends, reduction_ends, pass_ends;
  assign fir_take       = b_wraps ? left_b_q[7:0] : cfg_q.fir_taps;
  assign a_wraps        = tap_a_q + 16'd1 == cfg_q.taps_a;
  assign b_wraps        = left_b_q <= (cfg_q.fir ? 16'(cfg_q.fir_taps) : 16'd1);
  assign tap_ends       = cfg_q.fir || fits;
  assign reduction_ends = tap_ends && a_wraps && b_wraps;
  assign pass_ends      = (cfg_q.fir ? a_wraps : reduction_ends || take == room)
                          || port_q + 2'd1 == cfg_q.ports;

  // Where the next tap lies. FIR: a is the inner loop, flat: b. The outer one steps from (a, 0).
  logic  wraps;
  step_t tap_next;
  assign wraps    = cfg_q.fir ? a_wraps : b_wraps;
  assign tap_next = add(wraps ? a_pos_q : b_pos_q,
                        wraps == cfg_q.fir ? cfg_q.b_step : cfg_q.a_step);

  // Bytes from the tile's place to lane 0 of a port; offset_q stays zero in FIR mode. Sums that are
  // kept are added two at a time: synthesis makes a sum of three dearer than two sums.
  (* keep *) logic signed [25:0] segment_offset, lane_offset;
  (* keep *) logic        [23:0] tap_addr;
  (* keep *) logic signed [31:0] tap_x;
  logic                   [7:0]  lanes_before;
  assign lanes_before   = cfg_q.fir ? '0 : lane_q;
  assign segment_offset = $signed({2'b0, offset_q}) - $signed({18'b0, lanes_before});
  assign lane_offset    = $signed({2'b0, block_addr_q}) + segment_offset;
  assign tap_addr       = b_pos_q.addr + lane_offset[23:0];
  assign tap_x          = 32'(b_pos_q.x) + 32'(lane_offset);

  logic [7:0] lines, lane_next;
  assign lines     = lane_q;  // lanes filled when the pass is pushed
  assign lane_next = lane_q + (cfg_q.fir ? fir_take : take);

  // Fields that were used before the instruction was taken, or are wider than their use.
  logic unused;
  assign unused = ^{cfg_q.retired, cfg_q.header, cfg_q.x_zero[9], cfg_q.w_zero[9]};

  logic tile_pass_last;
  assign tile_pass_last = taps_done_q && last_block_q;
  assign push_o         = state_q == Push && room_i;
  assign step           = push_o && tile_pass_last && !all_last;

  logic [23:0] pointer_next;
  assign pointer_next = pointer_q + (cfg_q.w_source == '0 ? 24'(lines) + 24'(cfg_q.w_zero_lines)
                                                          : '0);

  // Where the next iteration begins, of the instruction or of a level: rewind or go on.
  logic [23:0] pointer_start;
  assign pointer_start = state_q == Start ? pointer_q
                         : cfg_q.w_irrelevant[level] ? start_q[level] : pointer_next;

  always_comb begin
    feed_o               = feed_q;
    feed_o.fir           = cfg_q.fir;
    feed_o.fir_rows      = lane_t'(cfg_q.fir_taps);
    feed_o.fir_stride    = cfg_q.fir_stride;
    feed_o.macs_columns  = cfg_q.mac_columns == '0 ? columns : cfg_q.mac_columns;
    feed_o.p_count       = p_count_q;
    feed_o.q_count       = q_count_q;
    feed_o.p_step        = cfg_q.p_step;
    feed_o.q_step        = cfg_q.q_step;
    feed_o.y_size        = cfg_q.y_size;
    feed_o.x_size        = cfg_q.x_size;
    feed_o.x_zero        = cfg_q.x_zero[8:0];
    feed_o.x_signed      = cfg_q.x_signed;
    feed_o.acc_line      = acc_line_q;
    feed_o.acc_half      = half_q;
    feed_o.acc_first     = k_first && tile_first_pass_q;
    feed_o.acc_last      = k_last && tile_pass_last;
    feed_o.tile_release  = tile_pass_last && cfg_q.tile.enable && all_from(last, cfg_q.tile.depth);
    feed_o.instr_last    = tile_pass_last && all_last;
    feed_o.layer         = cfg_q.header.layer;

    weights_o                = '0;
    weights_o.source         = cfg_q.w_source;
    weights_o.lines          = cfg_q.w_source == 2'd2 ? columns : lines;
    weights_o.run            = 8'(feed_q.fir_taps);
    weights_o.gap            = cfg_q.fir ? cfg_q.fir_taps - 8'(feed_q.fir_taps) : '0;
    weights_o.zero_line      = cfg_q.w_zero_lines;
    weights_o.zero           = cfg_q.w_zero[8:0];
    weights_o.is_signed      = cfg_q.w_signed;
    weights_o.pointer        = pointer_q;
    weights_o.behind         = pointer_next;
    weights_o.free           = cfg_q.w_source == '0 && tile_pass_last
                               && all_from(last, cfg_q.w_depth);
    weights_o.addr           = second_line_q;
    weights_o.stride         = cfg_q.w_source == 2'd2 ? cfg_q.second_n : cfg_q.second_k;
    weights_o.release_second = tile_pass_last && cfg_q.second.enable
                               && all_from(last, cfg_q.second.depth);
  end

  function automatic step_t add(input step_t a, input step_t b);
    step_t s;
    s.addr = a.addr + b.addr;
    s.y    = a.y + b.y;
    s.x    = a.x + b.x;
    return s;
  endfunction

  // Slot offsets of the fire in progress, kept until the next fire.
  assign fire_tile   = state_q == Tile && tile_go && tile_fires;
  assign fire_second = state_q == Tile && tile_go && second_fires;

  tile_slots #(.Width(24)) u_tile_slots (
    .clk_i, .load_i(load), .fire_i(fire_tile), .slots_i(cfg_q.tile.slots),
    .slot_bytes_i(cfg_q.tile.slot_bytes), .offset_o(tile_offset)
  );
  tile_slots #(.Width(24)) u_second_slots (
    .clk_i, .load_i(load), .fire_i(fire_second), .slots_i(cfg_q.second.slots),
    .slot_bytes_i(cfg_q.second.slot_bytes), .offset_o(second_offset)
  );

  logic [23:0] tile_addr_q, second_next_q, tile_held_q, second_held_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q   <= Idle;
      half_q    <= 1'b0;
      pointer_q <= '0;
    end else begin
      unique case (state_q)
        Idle: if (instr_take_o) begin
          cfg_q   <= instr_i;
          state_q <= Start;
        end

        Start: begin
          block_count_q <= '1;
          for (int unsigned l = 0; l < Levels; l++) start_q[l] <= pointer_start;
          state_q <= Tile;
        end

        Tile: if (tile_go) begin
          p_count_q <= cfg_q.p_count[p_last];
          q_count_q <= cfg_q.q_count[q_last];
          blocks_q  <= cfg_q.blocks[n_last];
          segment_q <= cfg_q.segment[kl];
          tile_addr_q   <= tile_base + (tile_fires ? tile_offset : tile_held_q);
          second_block_q <= second_base + (second_fires ? second_offset : second_held_q);
          second_next_q  <= second_base + (second_fires ? second_offset : second_held_q);
          if (tile_fires) tile_held_q <= tile_offset;
          if (second_fires) second_held_q <= second_offset;
          if (k_first) block_count_q <= block_count_q + 1'b1;
          block_next_q      <= 16'd1;
          last_block_q      <= cfg_q.blocks[n_last] == 16'd1;
          block_addr_q      <= '0;
          acc_line_q        <= '0;
          tap_a_q           <= '0;
          left_b_q          <= cfg_q.taps_b;
          offset_q          <= '0;
          a_pos_q           <= '0;
          b_pos_q           <= '0;
          lane_q            <= '0;
          port_q            <= '0;
          tile_first_pass_q <= 1'b1;
          taps_done_q       <= 1'b0;
          feed_q            <= '0;
          state_q           <= Port;
        end

        Port: begin
          feed_q.used[port_q]      <= 1'b1;
          feed_q.port[port_q].addr <= tile_addr_q + tap_addr;
          feed_q.port[port_q].y    <= $signed(y_base) + b_pos_q.y;
          feed_q.port[port_q].x    <= $signed(x_base) + tap_x;
          feed_q.fir_taps <= lane_t'(fir_take);
          for (int unsigned p = 0; p < FeedPorts; p++) begin
            if (2'(p) >= port_q) begin
              feed_q.lane_end[p] <= lane_t'(lane_next);
            end
          end
          if (port_q == '0) begin
            second_line_q <= second_next_q;
            // Only the last pass of a block may take fewer than Rows lines.
            second_next_q <= second_next_q + 24'(cfg_q.second_k * 24'(Rows));
            lines_low_q   <= acc_line_t'(times(TimesW'(p_count_q), TimesW'(q_count_q[3:0])));
            lines_high_q  <= acc_line_t'(times(TimesW'(p_count_q), TimesW'(q_count_q[15:4])) << 4);
          end
          lane_q      <= lane_next;
          port_q      <= port_q + 2'd1;
          if (reduction_ends) taps_done_q <= 1'b1;
          if (cfg_q.fir) begin
            tap_a_q <= a_wraps ? '0 : tap_a_q + 16'd1;
            if (a_wraps) left_b_q <= left_b_q - 16'(fir_take);
          end else if (tap_ends) begin
            if (b_wraps) tap_a_q <= tap_a_q + 16'd1;
            left_b_q <= b_wraps ? cfg_q.taps_b : left_b_q - 16'd1;
          end
          offset_q <= tap_ends ? '0 : offset_q + 24'(take);
          if (tap_ends) begin
            b_pos_q <= tap_next;
            if (wraps) a_pos_q <= tap_next;
          end
          if (pass_ends) state_q <= Push;
        end

        Push: if (room_i) begin
          pointer_q         <= pointer_next;
          tile_first_pass_q <= 1'b0;
          feed_q            <= '0;
          lane_q            <= '0;
          port_q            <= '0;
          state_q           <= Port;
          if (taps_done_q) begin
            // next column block
            taps_done_q       <= 1'b0;
            tap_a_q           <= '0;
            left_b_q          <= cfg_q.taps_b;
            offset_q          <= '0;
            a_pos_q           <= '0;
            b_pos_q           <= '0;
            block_next_q      <= block_next_q + 16'd1;
            last_block_q      <= block_next_q + 16'd1 == blocks_q;
            block_addr_q      <= block_addr_q + cfg_q.block_step;
            acc_line_q        <= acc_line_q + lines_low_q + lines_high_q;
            second_block_q    <= second_block_q + cfg_q.second_block;
            second_next_q     <= second_block_q + cfg_q.second_block;
            tile_first_pass_q <= 1'b1;
            if (last_block_q) begin
              if (k_last) half_q <= !half_q;
              if (all_last) begin
                state_q <= Idle;
              end else begin
                state_q <= Tile;
                pointer_q <= pointer_start;
                for (int unsigned l = 0; l < Levels; l++) begin
                  if (3'(l) > level) begin
                    start_q[l] <= pointer_start;
                  end
                end
              end
            end
          end
        end

        default: state_q <= Idle;
      endcase
    end
  end

endmodule
