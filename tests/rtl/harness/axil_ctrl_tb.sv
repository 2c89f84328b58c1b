// axil_ctrl with AXI4-Lite names, for cocotbext-axi; counter n is 3 * n + counter_seed. Counters
// pass by in turn, with pauses.

module axil_ctrl_tb #(
  parameter int unsigned NUM_COUNTERS = 5
) (
  input  logic        clk,
  input  logic        rst_n,

  input  logic        axil_awvalid,
  output logic        axil_awready,
  input  logic [11:0] axil_awaddr,
  input  logic        axil_wvalid,
  output logic        axil_wready,
  input  logic [31:0] axil_wdata,
  input  logic [3:0]  axil_wstrb,
  output logic        axil_bvalid,
  input  logic        axil_bready,
  output logic [1:0]  axil_bresp,
  input  logic        axil_arvalid,
  output logic        axil_arready,
  input  logic [11:0] axil_araddr,
  output logic        axil_rvalid,
  input  logic        axil_rready,
  output logic [31:0] axil_rdata,
  output logic [1:0]  axil_rresp,

  output logic        start,
  input  logic        done,
  input  logic        idle,
  output logic [63:0] program_addr,
  output logic [31:0] program_bytes,
  output logic [63:0] tensor_base,
  output logic [31:0] read_limit,
  output logic [31:0] write_first,
  output logic [31:0] write_limit,
  output logic [31:0] job_limit,
  output logic [31:0] progress_limit,
  output logic        stop,
  // Waived: the name is Vitis'; Verilator only renames it in its C++.
  // verilator lint_off SYMRSVDWORD
  output logic        interrupt,
  // verilator lint_on SYMRSVDWORD
  input  logic [31:0] error_code,
  input  logic [31:0] cause,
  input  logic [31:0] counter_seed
);

  localparam int unsigned IndexW = $clog2(NUM_COUNTERS);
  logic [IndexW-1:0] index;
  logic              passes;

  always_ff @(posedge clk) begin
    passes <= $urandom_range(3) != 0;
    if (!rst_n || index == IndexW'(NUM_COUNTERS - 1)) index <= '0;
    else index <= index + 1'b1;
  end

  axil_ctrl #(
    .NUM_COUNTERS(NUM_COUNTERS),
    .BUILD_ID    (32'hb01dface)
  ) u_ctrl (
    .clk_i          (clk),
    .rst_ni         (rst_n),
    .aw_valid_i     (axil_awvalid),
    .aw_ready_o     (axil_awready),
    .aw_addr_i      (axil_awaddr),
    .w_valid_i      (axil_wvalid),
    .w_ready_o      (axil_wready),
    .w_data_i       (axil_wdata),
    .w_strb_i       (axil_wstrb),
    .b_valid_o      (axil_bvalid),
    .b_ready_i      (axil_bready),
    .b_resp_o       (axil_bresp),
    .ar_valid_i     (axil_arvalid),
    .ar_ready_o     (axil_arready),
    .ar_addr_i      (axil_araddr),
    .r_valid_o      (axil_rvalid),
    .r_ready_i      (axil_rready),
    .r_data_o       (axil_rdata),
    .r_resp_o       (axil_rresp),
    .start_o        (start),
    .done_i         (done),
    .idle_i         (idle),
    .program_addr_o (program_addr),
    .program_bytes_o(program_bytes),
    .tensor_base_o  (tensor_base),
    .read_limit_o   (read_limit),
    .write_first_o  (write_first),
    .write_limit_o  (write_limit),
    .job_limit_o    (job_limit),
    .progress_limit_o(progress_limit),
    .stop_o         (stop),
    .interrupt_o    (interrupt),
    .error_code_i   (error_code),
    .cause_i        (cause),
    .count_valid_i  (passes),
    .count_index_i  (index),
    .count_i        (passes ? 32'd3 * 32'(index) + counter_seed : 32'hdeadbeef)
  );

endmodule
