// Walks the tile loops of a vector instruction one tile ahead of the control: waits for events,
// adds up addresses, picks ragged sizes.
//
// start_i loads the loops from instr_i. From the next cycle on the events of the current iteration
// are looked at; in a cycle where all of them are reached and the tile register is free (or taken),
// the tile enters the register: it is offered from the next cycle on, when the next iteration is
// looked at.

module vector_tiles
  import df_pkg::*;
  import vector_pkg::*;
(
  input  logic       clk_i,
  input  logic       rst_ni,

  input  logic       start_i,
  // Waived: the control and the lanes read the other fields.
  // verilator lint_off UNUSEDSIGNAL
  input  vector_t    instr_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic [NumEvents-1:0][EventW-1:0] counters_i,

  output logic       tile_valid_o,
  input  logic       tile_ready_i,
  output tile_work_t tile_o,

  output logic       busy_o,           // iterations are left
  output logic       waits_source_o,   // no tile to offer: a source or a retirement is missing
  output logic       waits_sink_o      // no tile to offer: only the sink's slot is missing
);

  logic                   busy_q, tile_valid_q;
  tile_work_t             tile_q, tile_d;
  logic                   push;
  logic [Levels-1:0]      first, last;
  logic                   all_last;
  logic [LevelIdxW-1:0]   level, level_q;
  logic                   stepped_q;  // the current iteration was reached by a step of level_q

  logic                   first_fires, second_fires, sink_fires;
  logic [23:0]            first_addr, second_addr, sink_addr;
  logic                   first_reached, second_reached, sink_reached, acc_reached;
  logic                   retired, source_ready, sink_ready;
  logic [EventW-1:0]      acc_wanted_q;  // acc_base + t + 1
  // Waived: only the sign of the distance counts.
  // verilator lint_off UNUSEDSIGNAL
  logic [EventW-1:0]      acc_distance;
  // verilator lint_on UNUSEDSIGNAL

  loop_nest #(
    .Levels(Levels),
    .Width (16)
  ) u_loops (
    .clk_i,
    .load_i     (start_i),
    .new_trips_i(instr_i.trips),
    .trips_i    (instr_i.trips),
    .step_i     (push),
    .first_o    (first),
    .last_o     (last),
    .all_last_o (all_last),
    .level_o    (level)
  );

  vector_reference #(
    .EVENTS(NumEvents'(EventsFilled))
  ) u_first (
    .clk_i,
    .start_i,
    .step_i    (push),
    .level_i   (level),
    .first_i   (first),
    .tile_i    (instr_i.first.tile),
    .counters_i,
    .fires_o   (first_fires),
    .reached_o (first_reached),
    .addr_o    (first_addr)
  );

  vector_reference #(
    .EVENTS(NumEvents'(EventsFilled))
  ) u_second (
    .clk_i,
    .start_i,
    .step_i    (push),
    .level_i   (level),
    .first_i   (first),
    .tile_i    (instr_i.second.tile),
    .counters_i,
    .fires_o   (second_fires),
    .reached_o (second_reached),
    .addr_o    (second_addr)
  );

  vector_reference #(
    .EVENTS(NumEvents'(EventsFreedOutput))
  ) u_sink (
    .clk_i,
    .start_i,
    .step_i    (push),
    .level_i   (level),
    .first_i   (first),
    .tile_i    (instr_i.sink),
    .counters_i,
    .fires_o   (sink_fires),
    .reached_o (sink_reached),
    .addr_o    (sink_addr)
  );

  nest_agu #(
    .Width (24),
    .Levels(Levels)
  ) u_y (
    .clk_i,
    .load_i   (start_i),
    .base_i   (instr_i.y),
    .steps_i  (instr_i.y_strides),
    .step_i   (push),
    .level_i  (level),
    .value_o  (tile_d.y)
  );

  nest_agu #(
    .Width (24),
    .Levels(Levels)
  ) u_x (
    .clk_i,
    .load_i   (start_i),
    .base_i   (instr_i.x),
    .steps_i  (instr_i.x_strides),
    .step_i   (push),
    .level_i  (level),
    .value_o  (tile_d.x)
  );

  always_comb begin
    for (int unsigned l = 0; l < Levels; l++) tile_d.opens[l] = all_from(first, 3'(l));
  end

  assign acc_distance = counters_i[EventArrayAcc] - acc_wanted_q;
  assign acc_reached = !acc_distance[EventW-1];
  assign retired = all_retired(counters_i, instr_i.retired);
  assign source_ready = retired && (!second_fires || second_reached)
                        && (instr_i.from_acc ? acc_reached : !first_fires || first_reached);
  assign sink_ready = !sink_fires || sink_reached;
  assign push = busy_q && source_ready && sink_ready && (!tile_valid_q || tile_ready_i);

  assign tile_d.first_addr = first_addr;
  assign tile_d.second_addr = second_addr;
  assign tile_d.sink_addr = sink_addr;
  assign tile_d.acc_half = !acc_wanted_q[0];
  assign tile_d.p_last = instr_i.p_count[ragged(last, instr_i.p_level)] - 16'd1;
  assign tile_d.q_last = instr_i.q_count[ragged(last, instr_i.q_level)] - 16'd1;
  assign tile_d.block_last = instr_i.blocks[ragged(last, instr_i.n_level)] - 16'd1;
  assign tile_d.lanes_last = instr_i.lanes_last[ragged(last, instr_i.n_level)];
  assign tile_d.limit = instr_i.limit[ragged(last, instr_i.q_level)];
  assign tile_d.release_first = instr_i.from_acc
                                || (instr_i.first.tile.enable
                                    && all_from(last, instr_i.first.tile.depth));
  assign tile_d.release_second = instr_i.second.tile.enable
                                 && all_from(last, instr_i.second.tile.depth);
  assign tile_d.release_out = instr_i.sink.enable && all_from(last, instr_i.sink.depth);
  assign tile_d.release_params = all_from(last, instr_i.params_depth);
  assign tile_d.rewind = stepped_q && instr_i.params_irrelevant[level_q];
  assign tile_d.level = level_q;
  assign tile_d.instr_last = all_last;

  assign tile_valid_o = tile_valid_q;
  assign tile_o = tile_q;
  assign busy_o = busy_q;
  assign waits_source_o = busy_q && !tile_valid_q && !source_ready;
  assign waits_sink_o = busy_q && !tile_valid_q && source_ready && !sink_ready;

  always_ff @(posedge clk_i) begin
    if (push) tile_q <= tile_d;
    if (start_i) begin
      acc_wanted_q <= instr_i.acc_base + EventW'(1);
      stepped_q <= 1'b0;
    end else if (push) begin
      acc_wanted_q <= acc_wanted_q + EventW'(1);
      stepped_q <= 1'b1;
      level_q <= level;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      tile_valid_q <= 1'b0;
    end else begin
      if (start_i) busy_q <= 1'b1;
      else if (push && all_last) busy_q <= 1'b0;
      if (push) tile_valid_q <= 1'b1;
      else if (tile_ready_i) tile_valid_q <= 1'b0;
    end
  end

endmodule
