// dram_model with AXI names, for cocotbext-axi.

module dram_model_tb #(
  parameter int unsigned DATA_BYTES = 16,
  parameter int unsigned MEM_BYTES_LOG2 = 16
) (
  input  logic                    clk,
  input  logic                    rst_n,

  input  logic                    axi_arvalid,
  output logic                    axi_arready,
  input  logic [0:0]              axi_arid,
  input  logic [31:0]             axi_araddr,
  input  logic [7:0]              axi_arlen,
  input  logic [2:0]              axi_arsize,
  input  logic [1:0]              axi_arburst,
  output logic                    axi_rvalid,
  input  logic                    axi_rready,
  output logic [0:0]              axi_rid,
  output logic [8*DATA_BYTES-1:0] axi_rdata,
  output logic [1:0]              axi_rresp,
  output logic                    axi_rlast,
  input  logic                    axi_awvalid,
  output logic                    axi_awready,
  input  logic [0:0]              axi_awid,
  input  logic [31:0]             axi_awaddr,
  input  logic [7:0]              axi_awlen,
  input  logic [2:0]              axi_awsize,
  input  logic [1:0]              axi_awburst,
  input  logic                    axi_wvalid,
  output logic                    axi_wready,
  input  logic [8*DATA_BYTES-1:0] axi_wdata,
  input  logic [DATA_BYTES-1:0]   axi_wstrb,
  input  logic                    axi_wlast,
  output logic                    axi_bvalid,
  input  logic                    axi_bready,
  output logic [0:0]              axi_bid,
  output logic [1:0]              axi_bresp,

  input  logic                    dump,
  input  logic [31:0]             dump_lo,
  input  logic [31:0]             dump_hi,
  output logic [63:0]             read_beats_0,
  output logic [63:0]             read_beats_1,
  output logic [63:0]             write_beats,
  output logic [63:0]             write_bytes,
  output logic [31:0]             protocol_errors,
  output logic [31:0]             hazards
);

  logic [63:0] read_beats[2];

  assign read_beats_0 = read_beats[0];
  assign read_beats_1 = read_beats[1];

  dram_model #(
    .DATA_BYTES    (DATA_BYTES),
    .ADDR_WIDTH    (32),
    .MEM_BYTES_LOG2(MEM_BYTES_LOG2)
  ) u_dram (
    .clk_i            (clk),
    .rst_ni           (rst_n),
    .master_rst_ni    (rst_n),
    .load_i           (1'b0),
    .ar_valid_i       (axi_arvalid),
    .ar_ready_o       (axi_arready),
    .ar_id_i          (axi_arid),
    .ar_addr_i        (axi_araddr),
    .ar_len_i         (axi_arlen),
    .ar_size_i        (axi_arsize),
    .ar_burst_i       (axi_arburst),
    .r_valid_o        (axi_rvalid),
    .r_ready_i        (axi_rready),
    .r_id_o           (axi_rid),
    .r_data_o         (axi_rdata),
    .r_resp_o         (axi_rresp),
    .r_last_o         (axi_rlast),
    .aw_valid_i       (axi_awvalid),
    .aw_ready_o       (axi_awready),
    .aw_id_i          (axi_awid),
    .aw_addr_i        (axi_awaddr),
    .aw_len_i         (axi_awlen),
    .aw_size_i        (axi_awsize),
    .aw_burst_i       (axi_awburst),
    .w_valid_i        (axi_wvalid),
    .w_ready_o        (axi_wready),
    .w_data_i         (axi_wdata),
    .w_strb_i         (axi_wstrb),
    .w_last_i         (axi_wlast),
    .b_valid_o        (axi_bvalid),
    .b_ready_i        (axi_bready),
    .b_id_o           (axi_bid),
    .b_resp_o         (axi_bresp),
    .dump_i           (dump),
    .dump_lo_i        ({32'b0, dump_lo}),
    .dump_hi_i        ({32'b0, dump_hi}),
    .read_beats_o     (read_beats),
    .write_beats_o    (write_beats),
    .write_bytes_o    (write_bytes),
    .protocol_errors_o(protocol_errors),
    .hazards_o        (hazards)
  );

endmodule
