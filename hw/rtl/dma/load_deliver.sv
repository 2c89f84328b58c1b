// Load engine, delivering side: takes the R beats of the bursts in the order of their requests and
// writes them into the weight ring, the parameter ring or the activation memory.
//
// An R beat accepted in cycle c is written in c + 1 at the earliest (a two-entry buffer, so that
// RREADY depends on registers only), one beat a cycle; activation writes wait for act_ready_i. The
// write, the events and the retirement of a burst's last beat happen in one cycle, so the counters
// (registers, here and in the top level) show it in the next one, when a read sees the data.
// An entry without data takes one cycle of its own.

module load_deliver
  import df_pkg::*;
  import dma_pkg::*;
#(
  localparam int unsigned WbufAddrW  = $clog2(WbufLines),
  localparam int unsigned ParamAddrW = $clog2(ParamLines)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,

  input  logic                  burst_valid_i,
  output logic                  burst_ready_o,  // in the cycle of the burst's last write
  input  burst_t                burst_i,

  input  logic                  r_valid_i,
  output logic                  r_ready_o,
  input  logic [LineBits-1:0]   r_data_i,

  output logic                  wbuf_we_o,
  output logic [WbufAddrW-1:0]  wbuf_addr_o,
  output logic                  param_we_o,
  output logic [ParamAddrW-1:0] param_addr_o,
  output logic [1:0]            param_quarter_o,
  output logic                  act_valid_o,
  input  logic                  act_ready_i,
  output logic [23:0]           act_addr_o,
  output logic [LineBytes-1:0]  act_mask_o,
  output logic [LineBits-1:0]   data_o,         // to all three memories

  output logic [EventW-1:0]     w_written_o,
  output logic [EventW-1:0]     p_written_o,
  output logic                  load_i_o,
  output logic                  load_r_o,
  output logic                  load_done_o,
  output logic [15:0]           done_layer_o,

  output logic                  beat_o,
  output logic [LineIdxW:0]     bytes_o,
  output logic                  wait_data_o,
  output logic                  wait_act_o
);

  logic                 data_valid, data_ready;
  logic                 end_of_burst, is_act, has_data, write, finish;
  logic [LineIdxW:0]    bytes;           // of this beat
  logic [WbufAddrW-1:0] w_line_q;
  logic [ParamAddrW-1:0] p_line_q;
  logic [1:0]           p_quarter_q;
  logic [EventW-1:0]    w_written_q, p_written_q;

  fifo #(
    .Width(LineBits),
    .Depth(2)
  ) u_data (
    .clk_i,
    .rst_ni,
    .in_valid_i (r_valid_i),
    .in_ready_o (r_ready_o),
    .in_data_i  (r_data_i),
    .out_valid_o(data_valid),
    .out_ready_i(data_ready),
    .out_data_o (data_o)
  );

  burst_beats u_beats (
    .clk_i,
    .rst_ni,
    .span_i   (burst_i.span),
    .take_i   (write),
    .on_chip_o(act_addr_o),
    .last_o   (end_of_burst),
    .mask_o   (act_mask_o),
    .bytes_o  (bytes)
  );

  // What happens in this cycle.

  assign has_data = burst_i.span.data;
  assign is_act = burst_i.kind == RefSource || burst_i.kind == RefSecond;
  assign act_valid_o = burst_valid_i && has_data && is_act && data_valid;
  assign write = burst_valid_i && has_data && data_valid && (!is_act || act_ready_i);
  assign finish = burst_valid_i && (has_data ? write && end_of_burst : 1'b1);
  assign data_ready = write;
  assign burst_ready_o = finish;

  assign wbuf_we_o = write && burst_i.kind == RefWeights;
  assign wbuf_addr_o = w_line_q;
  assign param_we_o = write && burst_i.kind == RefParams;
  assign param_addr_o = p_line_q;
  assign param_quarter_o = p_quarter_q;
  assign w_written_o = w_written_q;
  assign p_written_o = p_written_q;
  assign load_i_o = finish && burst_i.last && burst_i.kind == RefSource;
  assign load_r_o = finish && burst_i.last && burst_i.kind == RefSecond;
  assign load_done_o = finish && burst_i.retire;
  assign done_layer_o = burst_i.span.on_chip[15:0];
  assign beat_o = write;
  assign bytes_o = write ? bytes : '0;
  assign wait_data_o = burst_valid_i && has_data && !data_valid;
  assign wait_act_o = act_valid_o && !act_ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      w_line_q <= '0;
      p_line_q <= '0;
      p_quarter_q <= '0;
      w_written_q <= '0;
      p_written_q <= '0;
    end else begin
      if (wbuf_we_o) begin
        w_line_q <= w_line_q == WbufAddrW'(WbufLines - 1) ? '0 : w_line_q + WbufAddrW'(1);
        w_written_q <= w_written_q + EventW'(1);
      end
      if (param_we_o) begin
        p_quarter_q <= p_quarter_q + 2'd1;
        if (p_quarter_q == 2'd3) begin
          p_line_q <= p_line_q == ParamAddrW'(ParamLines - 1) ? '0 : p_line_q + ParamAddrW'(1);
          p_written_q <= p_written_q + EventW'(1);
        end
      end
    end
  end

endmodule
