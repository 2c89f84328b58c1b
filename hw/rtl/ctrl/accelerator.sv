// Top level: AXI4-Lite control (the block-control map of Vitis HLS), one AXI4 master.

module accelerator
  import df_pkg::*;
#(
  parameter logic [31:0] BuildId = 32'h0,
  localparam int unsigned ControlAddrW = 12
) (
  input  logic                    ap_clk,
  input  logic                    ap_rst_n,
  // The name is fixed by convention; the simulator renames it in its C++.
  // verilator lint_off SYMRSVDWORD
  output logic                    interrupt,
  // verilator lint_on SYMRSVDWORD

  input  logic                    s_axi_control_awvalid,
  output logic                    s_axi_control_awready,
  input  logic [ControlAddrW-1:0] s_axi_control_awaddr,
  input  logic                    s_axi_control_wvalid,
  output logic                    s_axi_control_wready,
  input  logic [31:0]             s_axi_control_wdata,
  input  logic [3:0]              s_axi_control_wstrb,
  output logic                    s_axi_control_bvalid,
  input  logic                    s_axi_control_bready,
  output logic [1:0]              s_axi_control_bresp,
  input  logic                    s_axi_control_arvalid,
  output logic                    s_axi_control_arready,
  input  logic [ControlAddrW-1:0] s_axi_control_araddr,
  output logic                    s_axi_control_rvalid,
  input  logic                    s_axi_control_rready,
  output logic [31:0]             s_axi_control_rdata,
  output logic [1:0]              s_axi_control_rresp,

  output logic                    m_axi_gmem_arvalid,
  input  logic                    m_axi_gmem_arready,
  output logic [0:0]              m_axi_gmem_arid,
  output logic [63:0]             m_axi_gmem_araddr,
  output logic [7:0]              m_axi_gmem_arlen,
  output logic [2:0]              m_axi_gmem_arsize,
  output logic [1:0]              m_axi_gmem_arburst,
  output logic [3:0]              m_axi_gmem_arcache,
  output logic [2:0]              m_axi_gmem_arprot,
  input  logic                    m_axi_gmem_rvalid,
  output logic                    m_axi_gmem_rready,
  input  logic [0:0]              m_axi_gmem_rid,
  input  logic [PortBits-1:0]     m_axi_gmem_rdata,
  input  logic [1:0]              m_axi_gmem_rresp,
  input  logic                    m_axi_gmem_rlast,

  output logic                    m_axi_gmem_awvalid,
  input  logic                    m_axi_gmem_awready,
  output logic [0:0]              m_axi_gmem_awid,
  output logic [63:0]             m_axi_gmem_awaddr,
  output logic [7:0]              m_axi_gmem_awlen,
  output logic [2:0]              m_axi_gmem_awsize,
  output logic [1:0]              m_axi_gmem_awburst,
  output logic [3:0]              m_axi_gmem_awcache,
  output logic [2:0]              m_axi_gmem_awprot,
  output logic                    m_axi_gmem_wvalid,
  input  logic                    m_axi_gmem_wready,
  output logic [PortBits-1:0]     m_axi_gmem_wdata,
  output logic [PortBytes-1:0]    m_axi_gmem_wstrb,
  output logic                    m_axi_gmem_wlast,
  input  logic                    m_axi_gmem_bvalid,
  output logic                    m_axi_gmem_bready,
  input  logic [0:0]              m_axi_gmem_bid,
  input  logic [1:0]              m_axi_gmem_bresp,

  // instructions retired in this cycle: for traces, may be left open
  output logic [3:0]              trace_retired,
  output logic [3:0][15:0]        trace_layer
);

  logic                start, done, idle;
  logic [63:0]         program_addr, tensors_base;
  logic [31:0]         program_bytes, read_limit, write_first, write_limit, job_limit;
  logic [31:0]         progress_limit, cause;
  logic                stop;
  logic [31:0]         error, count;
  logic                count_valid;
  logic [CounterW-1:0] count_index;
  logic [AxiAddrW-1:0] araddr, awaddr;

  // Bus of lines.
  logic                 bus_rst_n, rvalid, rready, wvalid, wready, wlast;
  logic [7:0]           arlen, awlen;
  logic [LineBits-1:0]  rdata, wdata;
  logic [LineBytes-1:0] wstrb;
  logic [1:0]           rresp;

  axil_ctrl #(
    .ADDR_WIDTH  (ControlAddrW),
    .NUM_COUNTERS(NumCounters),
    .BUILD_ID    (BuildId)
  ) u_control (
    .clk_i          (ap_clk),
    .rst_ni         (ap_rst_n),
    .aw_valid_i     (s_axi_control_awvalid),
    .aw_ready_o     (s_axi_control_awready),
    .aw_addr_i      (s_axi_control_awaddr),
    .w_valid_i      (s_axi_control_wvalid),
    .w_ready_o      (s_axi_control_wready),
    .w_data_i       (s_axi_control_wdata),
    .w_strb_i       (s_axi_control_wstrb),
    .b_valid_o      (s_axi_control_bvalid),
    .b_ready_i      (s_axi_control_bready),
    .b_resp_o       (s_axi_control_bresp),
    .ar_valid_i     (s_axi_control_arvalid),
    .ar_ready_o     (s_axi_control_arready),
    .ar_addr_i      (s_axi_control_araddr),
    .r_valid_o      (s_axi_control_rvalid),
    .r_ready_i      (s_axi_control_rready),
    .r_data_o       (s_axi_control_rdata),
    .r_resp_o       (s_axi_control_rresp),
    .start_o        (start),
    .done_i         (done),
    .idle_i         (idle),
    .program_addr_o (program_addr),
    .program_bytes_o(program_bytes),
    .tensor_base_o  (tensors_base),
    .read_limit_o   (read_limit),
    .write_first_o  (write_first),
    .write_limit_o  (write_limit),
    .job_limit_o    (job_limit),
    .progress_limit_o(progress_limit),
    .stop_o         (stop),
    .interrupt_o    (interrupt),
    .error_code_i   (error),
    .cause_i        (cause),
    .count_valid_i  (count_valid),
    .count_index_i  (count_index),
    .count_i        (count)
  );

  accelerator_core u_core (
    .clk_i          (ap_clk),
    .rst_ni         (ap_rst_n),
    .start_i        (start),
    .program_addr_i (AxiAddrW'(program_addr)),
    .program_bytes_i(program_bytes),
    .tensors_base_i (AxiAddrW'(tensors_base)),
    .read_limit_i   (read_limit),
    .write_first_i  (write_first),
    .write_limit_i  (write_limit),
    .job_limit_i    (job_limit),
    .progress_limit_i(progress_limit),
    .stop_i         (stop),
    .done_o         (done),
    .idle_o         (idle),
    .cause_o        (cause),
    .error_o        (error),
    .count_valid_o  (count_valid),
    .count_index_o  (count_index),
    .count_o        (count),
    .ar_valid_o     (m_axi_gmem_arvalid),
    .ar_ready_i     (m_axi_gmem_arready),
    .ar_id_o        (m_axi_gmem_arid[0]),
    .ar_addr_o      (araddr),
    .ar_len_o       (arlen),
    .r_valid_i      (rvalid),
    .r_ready_o      (rready),
    .r_id_i         (m_axi_gmem_rid[0]),
    .r_data_i       (rdata),
    .r_resp_i       (rresp),
    .r_last_i       (m_axi_gmem_rlast),
    .aw_valid_o     (m_axi_gmem_awvalid),
    .aw_ready_i     (m_axi_gmem_awready),
    .aw_addr_o      (awaddr),
    .aw_len_o       (awlen),
    .w_valid_o      (wvalid),
    .w_ready_i      (wready),
    .w_data_o       (wdata),
    .w_strb_o       (wstrb),
    .w_last_o       (wlast),
    .b_valid_i      (m_axi_gmem_bvalid),
    .b_ready_o      (m_axi_gmem_bready),
    .b_resp_i       (m_axi_gmem_bresp),
    .bus_rst_no     (bus_rst_n),
    .retired_o      (trace_retired),
    .retired_layer_o(trace_layer)
  );

  line_port u_port (
    .clk_i         (ap_clk),
    .rst_ni        (bus_rst_n),
    .ar_len_i      (arlen),
    .r_valid_o     (rvalid),
    .r_ready_i     (rready),
    .r_data_o      (rdata),
    .r_resp_o      (rresp),
    .aw_len_i      (awlen),
    .w_valid_i     (wvalid),
    .w_ready_o     (wready),
    .w_data_i      (wdata),
    .w_strb_i      (wstrb),
    .w_last_i      (wlast),
    .port_ar_len_o (m_axi_gmem_arlen),
    .port_r_valid_i(m_axi_gmem_rvalid),
    .port_r_ready_o(m_axi_gmem_rready),
    .port_r_data_i (m_axi_gmem_rdata),
    .port_r_resp_i (m_axi_gmem_rresp),
    .port_aw_len_o (m_axi_gmem_awlen),
    .port_w_valid_o(m_axi_gmem_wvalid),
    .port_w_ready_i(m_axi_gmem_wready),
    .port_w_data_o (m_axi_gmem_wdata),
    .port_w_strb_o (m_axi_gmem_wstrb),
    .port_w_last_o (m_axi_gmem_wlast)
  );

  localparam logic [2:0] BeatSize = 3'(PortIdxW);

  assign m_axi_gmem_araddr  = 64'(araddr);
  assign m_axi_gmem_arsize  = BeatSize;
  assign m_axi_gmem_arburst = 2'b01;  // INCR
  assign m_axi_gmem_arcache = 4'h3;
  assign m_axi_gmem_arprot  = '0;
  assign m_axi_gmem_awid    = '0;
  assign m_axi_gmem_awaddr  = 64'(awaddr);
  assign m_axi_gmem_awsize  = BeatSize;
  assign m_axi_gmem_awburst = 2'b01;
  assign m_axi_gmem_awcache = 4'h3;
  assign m_axi_gmem_awprot  = '0;

  // Addresses beyond AxiAddrW bits are not used; responses come in order.
  logic unused;
  assign unused = ^{program_addr, tensors_base, m_axi_gmem_bid};

endmodule
