// AXI4 read master shared by the program fetch (ID 0, first priority) and the load engine (ID 1).
//
// A request accepted in cycle c shows as AR from c + 1 (a two-entry buffer, so that one request a
// cycle is accepted and no client sees ARREADY). R beats are passed on in their cycle by ID; the
// interconnect keeps the order of an ID, and the beats of both clients need no buffer here.
// A response that is not OKAY sets error_o until reset.

module dma_read
  import df_pkg::*;
(
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                fetch_valid_i,
  output logic                fetch_ready_o,
  input  logic [AxiAddrW-1:0] fetch_addr_i,  // byte address of the burst, line aligned
  input  logic [7:0]          fetch_len_i,   // beats - 1
  output logic                fetch_r_valid_o,
  input  logic                fetch_r_ready_i,

  input  logic                load_valid_i,
  output logic                load_ready_o,
  input  logic [AxiAddrW-1:0] load_addr_i,
  input  logic [7:0]          load_len_i,
  output logic                load_r_valid_o,
  input  logic                load_r_ready_i,

  output logic [LineBits-1:0] r_data_o,  // to both clients

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

  output logic                error_o,
  output logic                idle_o  // no request waits for AR
);

  localparam int unsigned RequestW = 1 + AxiAddrW + 8;

  logic                request_valid, request_ready;
  logic [RequestW-1:0] request;
  logic                error_q;

  assign fetch_ready_o = request_ready;
  assign load_ready_o = request_ready && !fetch_valid_i;
  assign request_valid = fetch_valid_i || load_valid_i;
  assign request = fetch_valid_i ? {1'b0, fetch_addr_i, fetch_len_i}
                                 : {1'b1, load_addr_i, load_len_i};

  fifo #(
    .Width(RequestW),
    .Depth(2)
  ) u_request (
    .clk_i,
    .rst_ni,
    .in_valid_i (request_valid),
    .in_ready_o (request_ready),
    .in_data_i  (request),
    .out_valid_o(ar_valid_o),
    .out_ready_i(ar_ready_i),
    .out_data_o ({ar_id_o, ar_addr_o, ar_len_o})
  );

  assign fetch_r_valid_o = r_valid_i && !r_id_i;
  assign load_r_valid_o = r_valid_i && r_id_i;
  assign r_ready_o = r_id_i ? load_r_ready_i : fetch_r_ready_i;
  assign r_data_o = r_data_i;
  assign error_o = error_q;
  assign idle_o = !ar_valid_o;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      error_q <= 1'b0;
    end else if (r_valid_i && r_ready_o && r_resp_i != 2'b00) begin
      error_q <= 1'b1;
    end
  end

endmodule
