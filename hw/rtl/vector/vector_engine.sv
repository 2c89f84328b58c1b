// Vector engine: runs micro-programs over the points of tiles, Cols lanes wide.
//
//   vector_program   takes instructions, holds the micro-operations
//   vector_tiles     tile loops, events, addresses of tiles; one tile ahead
//   vector_control   blocks, strips, micro-operations, lines
//   (here)           issue: a line a cycle, held while a read is refused or a parameter is missing
//   vector_lanes     arithmetic and write
//
// Event pulses are high for one cycle. A released source may be overwritten from the next cycle on;
// out_o comes with the write of the tile's last line, so that a read in the next cycle sees it;
// done_o comes in the same cycle as the instruction's last out_o.
// Performance outputs are high in each cycle of their kind. Of perf_op_o, perf_param_o and the
// stalls at most one is high in a cycle; the other busy cycles are starts and drains.

module vector_engine
  import df_pkg::*;
  import vector_pkg::*;
(
  input  logic                 clk_i,
  input  logic                 rst_ni,

  input  logic                 instr_valid_i,
  input  vector_t              instr_i,
  output logic                 take_o,
  input  logic                 payload_valid_i,
  input  logic [LineBits-1:0]  payload_data_i,
  output logic                 payload_ready_o,
  output logic                 illegal_o,  // a micro-operation of the instruction in force

  input  logic [NumEvents-1:0][EventW-1:0] counters_i,
  output logic                 acc_free_o,
  output logic                 i_free_o,
  output logic                 r_free_o,
  output logic                 out_o,
  output logic                 done_o,
  output logic [15:0]          done_layer_o,

  // activation memory: data two cycles after the grant (valid && ready)
  output logic                 rd_valid_o,
  output logic [23:0]          rd_addr_o,
  input  logic                 rd_ready_i,
  input  logic [LineBits-1:0]  rd_data_i,

  // activation memory, always granted
  output logic                 wr_valid_o,
  output logic [23:0]          wr_addr_o,
  output logic [LineBits-1:0]  wr_data_o,
  output logic [LineBytes-1:0] wr_mask_o,

  // accumulators and parameter ring: data one cycle after the request
  output logic                 acc_rd_o,
  output logic                 acc_half_o,
  output logic [AccIdxW-1:0]   acc_addr_o,
  input  logic [31:0]          acc_data_i [Cols],
  output logic                 par_rd_o,
  output logic [ParamIdxW-1:0] par_addr_o,
  input  logic [31:0]          par_data_i [Cols],
  input  logic [23:0]          p_written_i,  // lines of the ring written since reset
  output logic [23:0]          p_freed_o,    // lines freed since reset

  output logic                 idle_o,
  output logic                 perf_busy_o,
  output logic                 perf_op_o,     // a line of a micro-operation is issued
  output logic                 perf_param_o,  // a parameter line is issued
  output logic                 perf_stall_source_o,
  output logic                 perf_stall_sink_o,
  output logic                 perf_stall_param_o,
  output logic                 perf_stall_act_o,
  output logic                 perf_stall_depend_o
);

  vector_t             instr;
  micro_op_t           op;
  logic                op_depends, op_computes;
  logic                start, program_busy, program_ready, drained;
  logic [OpIdxW-1:0]   op_index, op_last, last_s0, last_s1;
  logic                table_we;
  logic [7:0]          table_beat;
  logic [LineBits-1:0] table_data;
  logic                tile_valid, tile_ready, tiles_busy, waits_source, waits_sink;
  tile_work_t          tile;
  logic                control_busy, waits_dependency, line_valid, line_ready;
  line_t               line;

  logic                issue_valid_q, waits_q, granted, issued, param_present;
  line_t               issue_q;
  logic                front_busy, lanes_busy, idle_control;
  logic [23:0]         freed_q;

  vector_program u_program (
    .clk_i,
    .rst_ni,
    .instr_valid_i,
    .instr_i,
    .take_o,
    .payload_valid_i,
    .payload_data_i,
    .payload_ready_o,
    .drained_i    (drained),
    .start_o      (start),
    .ready_o      (program_ready),
    .busy_o       (program_busy),
    .instr_o      (instr),
    .op_index_i   (op_index),
    .op_o         (op),
    .op_depends_o (op_depends),
    .op_computes_o(op_computes),
    .op_last_o    (op_last),
    .last_s0_o    (last_s0),
    .last_s1_o    (last_s1),
    .illegal_o,
    .table_we_o   (table_we),
    .table_beat_o (table_beat),
    .table_data_o (table_data)
  );

  vector_tiles u_tiles (
    .clk_i,
    .rst_ni,
    .start_i       (start),
    .instr_i       (instr),
    .counters_i,
    .tile_valid_o  (tile_valid),
    .tile_ready_i  (tile_ready),
    .tile_o        (tile),
    .busy_o        (tiles_busy),
    .waits_source_o(waits_source),
    .waits_sink_o  (waits_sink)
  );

  vector_control u_control (
    .clk_i,
    .rst_ni,
    .instr_i           (instr),
    .program_ready_i   (program_ready),
    .op_index_o        (op_index),
    .op_i              (op),
    .op_depends_i      (op_depends),
    .op_computes_i     (op_computes),
    .op_last_i         (op_last),
    .last_s0_i         (last_s0),
    .last_s1_i         (last_s1),
    .tile_valid_i      (tile_valid),
    .tile_ready_o      (tile_ready),
    .tile_i            (tile),
    .line_valid_o      (line_valid),
    .line_ready_i      (line_ready),
    .line_o            (line),
    .busy_o            (control_busy),
    .waits_dependency_o(waits_dependency)
  );

  vector_lanes u_lanes (
    .clk_i,
    .rst_ni,
    .instr_i      (instr),
    .table_we_i   (table_we),
    .table_beat_i (table_beat),
    .table_data_i (table_data),
    .line_valid_i (issued),
    .line_i       (issue_q),
    .acc_data_i,
    .param_data_i (par_data_i),
    .act_data_i   (rd_data_i),
    .sink_valid_o (wr_valid_o),
    .sink_addr_o  (wr_addr_o),
    .sink_data_o  (wr_data_o),
    .sink_mask_o  (wr_mask_o),
    .release_out_o(out_o),
    .instr_last_o (done_o),
    .layer_o      (done_layer_o),
    .front_busy_o (front_busy),
    .busy_o       (lanes_busy)
  );

  // Issue.

  logic [23:0] present;

  assign present = p_written_i - issue_q.param_count;  // lines written from the wanted one on
  assign param_present = present != '0 && !present[23];
  assign granted = (!issue_q.act_read || rd_ready_i) && (!issue_q.param || param_present);
  assign issued = issue_valid_q && granted;
  assign line_ready = !issue_valid_q || granted;

  assign rd_valid_o = issue_valid_q && issue_q.act_read;
  assign rd_addr_o = issue_q.act_addr;
  assign acc_rd_o = issue_valid_q && issue_q.acc_read;
  assign acc_half_o = issue_q.acc_half;
  assign acc_addr_o = issue_q.acc_line;
  assign par_rd_o = issue_valid_q && issue_q.param;
  assign par_addr_o = issue_q.param_line;

  assign acc_free_o = issued && issue_q.release_first && instr.from_acc;
  assign i_free_o = issued && issue_q.release_first && !instr.from_acc;
  assign r_free_o = issued && issue_q.release_second;
  assign p_freed_o = freed_q;

  always_ff @(posedge clk_i) begin
    if (line_ready && line_valid) issue_q <= line;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      issue_valid_q <= 1'b0;
      waits_q <= 1'b0;
      freed_q <= '0;
    end else begin
      if (line_ready) begin
        issue_valid_q <= line_valid;
        waits_q <= waits_dependency;
      end
      if (issued && issue_q.param && issue_q.param_free) freed_q <= issue_q.param_count + 24'd1;
    end
  end

  assign drained = !start && !tiles_busy && !tile_valid && !control_busy && !issue_valid_q
                   && !front_busy;
  assign idle_o = !program_busy && !lanes_busy;

  // Performance.

  assign idle_control = !control_busy && !tile_valid && !issue_valid_q;
  assign perf_busy_o = !idle_o;
  assign perf_op_o = issued && !issue_q.param;
  assign perf_param_o = issued && issue_q.param;
  assign perf_stall_source_o = idle_control && waits_source;
  assign perf_stall_sink_o = idle_control && waits_sink;
  assign perf_stall_param_o = issue_valid_q && issue_q.param && !param_present;
  assign perf_stall_act_o = issue_valid_q && issue_q.act_read && !rd_ready_i;
  assign perf_stall_depend_o = !issue_valid_q && waits_q;

endmodule
