// The array engine: sequencer, weight loader, feed, accumulators' array side.

module array_engine
  import df_pkg::*;
  import array_pkg::*;
#(
  localparam int unsigned AccAddrW = $clog2(AccLines)
) (
  input  logic               clk_i,
  input  logic               rst_ni,

  input  logic               instr_valid_i,
  input  array_t             instr_i,
  output logic               instr_take_o,
  input  logic [15:0][23:0]  counters_i,

  output logic [FeedPorts-1:0]               feed_valid_o,
  output logic [FeedPorts-1:0][23:0]         feed_addr_o,
  input  logic [FeedPorts-1:0][LineBits-1:0] feed_data_i,

  output logic               act_valid_o,
  output logic [23:0]        act_addr_o,
  input  logic               act_ready_i,
  input  logic [LineBits-1:0] act_data_i,

  input  logic [23:0]        w_written_i,
  output logic [23:0]        w_freed_o,
  output logic               w_rd_o,
  output logic [23:0]        w_addr_o,
  input  logic [LineBits-1:0] w_data_i,

  output logic               acc_rd_o,
  output logic               acc_rd_half_o,
  output logic [AccAddrW-1:0] acc_rd_addr_o,
  input  logic [Cols*32-1:0] acc_data_i,
  output logic               acc_we_o,
  output logic               acc_wr_half_o,
  output logic [AccAddrW-1:0] acc_wr_addr_o,
  output logic [Cols*32-1:0] acc_wr_data_o,

  output logic               tile_released_o,
  output logic               second_released_o,
  output logic               block_done_o,
  output logic               instr_done_o,
  output logic [15:0]        done_layer_o,
  output logic               idle_o,

  // of this cycle, for the performance counters
  output logic               busy_o,
  output macs_t              macs_o,
  output logic               stall_tile_o,
  output logic               stall_acc_o,
  output logic               stall_weights_o
);

  logic          push, seq_idle, wait_tile, wait_acc;
  feed_t         feed_in, feed_out;
  load_weights_t weights_in, weights_out;
  logic          feed_room, weights_room, feed_valid, weights_valid, feed_take, weights_take;

  array_sequencer u_sequencer (
    .clk_i,
    .rst_ni,
    .instr_valid_i,
    .instr_i,
    .instr_take_o,
    .counters_i,
    .push_o     (push),
    .room_i     (feed_room && weights_room),
    .feed_o     (feed_in),
    .weights_o  (weights_in),
    .idle_o     (seq_idle),
    .wait_tile_o(wait_tile),
    .wait_acc_o (wait_acc)
  );

  fifo #(.Width($bits(feed_t)), .Depth(4)) u_feed_fifo (
    .clk_i,
    .rst_ni,
    .in_valid_i(push),
    .in_data_i(feed_in),
    .in_ready_o(feed_room),
    .out_valid_o(feed_valid),
    .out_data_o(feed_out),
    .out_ready_i(feed_take)
  );

  fifo #(.Width($bits(load_weights_t)), .Depth(4)) u_weights_fifo (
    .clk_i,
    .rst_ni,
    .in_valid_i(push),
    .in_data_i(weights_in),
    .in_ready_o(weights_room),
    .out_valid_o(weights_valid),
    .out_data_o(weights_out),
    .out_ready_i(weights_take)
  );

  logic              weights_ready, start, swapped, row_we, col_we, weights_idle, feed_idle;
  logic [7:0]        w_index;
  logic signed [8:0] w_line [LineBytes];

  array_weights u_weights (
    .clk_i,
    .rst_ni,
    .valid_i          (weights_valid),
    .pass_i           (weights_out),
    .take_o           (weights_take),
    .start_i          (start),
    .swapped_i        (swapped),
    .ready_o          (weights_ready),
    .written_i        (w_written_i),
    .freed_o          (w_freed_o),
    .ring_rd_o        (w_rd_o),
    .ring_addr_o      (w_addr_o),
    .ring_data_i      (w_data_i),
    .act_valid_o,
    .act_addr_o,
    .act_ready_i,
    .act_data_i,
    .row_we_o         (row_we),
    .col_we_o         (col_we),
    .index_o          (w_index),
    .line_o           (w_line),
    .second_released_o,
    .idle_o           (weights_idle)
  );

  array_feed u_feed (
    .clk_i,
    .rst_ni,
    .valid_i        (feed_valid),
    .pass_i         (feed_out),
    .take_o         (feed_take),
    .weights_ready_i(weights_ready),
    .start_o        (start),
    .swapped_o      (swapped),
    .feed_valid_o,
    .feed_addr_o,
    .feed_data_i,
    .row_we_i       (row_we),
    .col_we_i       (col_we),
    .w_index_i      (w_index),
    .w_line_i       (w_line),
    .acc_rd_o,
    .acc_rd_half_o,
    .acc_rd_addr_o,
    .acc_data_i,
    .acc_we_o,
    .acc_wr_half_o,
    .acc_wr_addr_o,
    .acc_wr_data_o,
    .tile_released_o,
    .block_done_o,
    .instr_done_o,
    .done_layer_o,
    .busy_o,
    .macs_o,
    .idle_o         (feed_idle)
  );

  // A cycle without a step is charged to one cause; weights: not there yet, or being loaded.
  assign stall_tile_o    = !busy_o && !feed_valid && wait_tile;
  assign stall_acc_o     = !busy_o && !feed_valid && wait_acc;
  assign stall_weights_o = !busy_o && feed_valid && !weights_ready;
  assign idle_o          = seq_idle && weights_idle && feed_idle && !feed_valid && !weights_valid;

endmodule
