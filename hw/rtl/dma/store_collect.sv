// Store engine, moving side: reads the bursts from the activation memory, beat by beat, and offers
// them on the AXI W channel.
//
// A burst that is offered here in cycle c asks the activation memory in c; granted in cycle g, its
// data comes in g + 2 and is offered as W from g + 3. One beat a cycle; at most Buffer beats are
// between grant and W handshake. The lanes need no rotation: the beat is read at the local address
// of its byte 0. free_o: the last read of a tile has been granted in this cycle.
// W data of a burst is offered when its address is at the head of the AW buffer or has passed it.

module store_collect
  import df_pkg::*;
  import dma_pkg::*;
(
  input  logic                 clk_i,
  input  logic                 rst_ni,

  input  logic                 burst_valid_i,
  output logic                 burst_ready_o,  // in the cycle of the burst's last grant
  input  write_burst_t         burst_i,

  output logic                 act_valid_o,
  input  logic                 act_ready_i,
  output logic [23:0]          act_addr_o,     // of lane 0, which may lie before the tile
  input  logic [LineBits-1:0]  act_data_i,     // two cycles after the grant

  input  logic                 aw_taken_i,     // an AW handshake in this cycle
  output logic                 w_valid_o,
  input  logic                 w_ready_i,
  output logic [LineBits-1:0]  w_data_o,
  output logic [LineBytes-1:0] w_strb_o,
  output logic                 w_last_o,

  output logic                 free_o,
  output logic                 null_o,         // an entry without data has been finished

  output logic                 beat_o,        // granted reads
  output logic [LineIdxW:0]    bytes_o,
  output logic                 wait_act_o,     // cycles: the activation memory's banks are busy
  output logic                 wait_w_o        // cycles: the W channel does not take the data
);

  localparam int unsigned Buffer  = 8;  // 4 cycles from grant to grant of the beat that replaces it
  localparam int unsigned CountW  = $clog2(Buffer + 1);
  localparam int unsigned LeadW   = 10;
  localparam int unsigned StrobeW = LineBytes + 1;

  logic [LineIdxW:0]    bytes;
  logic [LineBytes-1:0] strobes;
  logic                 end_of_burst, has_data, room, grant;

  burst_beats u_beats (
    .clk_i,
    .rst_ni,
    .span_i   (burst_i.span),
    .take_i   (grant),
    .on_chip_o(act_addr_o),
    .last_o   (end_of_burst),
    .mask_o   (strobes),
    .bytes_o  (bytes)
  );

  // Reads. A place in the W buffer is reserved from the grant to the W handshake.

  logic [CountW-1:0] reserved_q;
  logic              w_taken;

  assign has_data = burst_i.span.data;
  assign room = reserved_q != CountW'(Buffer);
  assign act_valid_o = burst_valid_i && has_data && room;
  assign grant = act_valid_o && act_ready_i;
  assign null_o = burst_valid_i && !has_data;
  assign burst_ready_o = null_o || (grant && end_of_burst);
  assign free_o = burst_valid_i && burst_ready_o && burst_i.last;

  // The read in flight.

  logic               flight1_q, flight2_q;
  logic [StrobeW-1:0] strobe1_q, strobe2_q;

  always_ff @(posedge clk_i) begin
    if (grant) strobe1_q <= {end_of_burst, strobes};
    strobe2_q <= strobe1_q;
  end

  // W. lead_q: addresses taken minus bursts of data finished.

  logic                    data_valid, data_ready, unused_ready;
  logic signed [LeadW-1:0] lead_q;

  fifo #(
    .Width(LineBits + StrobeW),
    .Depth(Buffer)
  ) u_data (
    .clk_i,
    .rst_ni,
    .in_valid_i (flight2_q),
    .in_ready_o (unused_ready),
    .in_data_i  ({act_data_i, strobe2_q}),
    .out_valid_o(data_valid),
    .out_ready_i(data_ready),
    .out_data_o ({w_data_o, w_last_o, w_strb_o})
  );

  assign w_valid_o = data_valid && lead_q >= 0;
  assign data_ready = w_ready_i && lead_q >= 0;
  assign w_taken = w_valid_o && w_ready_i;

  assign beat_o = grant;
  assign bytes_o = grant ? bytes : '0;
  assign wait_act_o = act_valid_o && !act_ready_i;
  assign wait_w_o = burst_valid_i && has_data && !room;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      reserved_q <= '0;
      flight1_q <= 1'b0;
      flight2_q <= 1'b0;
      lead_q <= '0;
    end else begin
      flight1_q <= grant;
      flight2_q <= flight1_q;
      reserved_q <= reserved_q + CountW'(grant) - CountW'(w_taken);
      lead_q <= lead_q + LeadW'(aw_taken_i) - LeadW'(w_taken && w_last_o);
    end
  end

endmodule
