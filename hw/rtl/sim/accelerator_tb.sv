// The accelerator and its DRAM, for cocotb: the control port and the end of the run are driven from
// Python, everything that happens every cycle stays here.
//
// mem_rst_n resets the memory; a machine that is reset alone leaves it as it is. load reads the
// images again. fault: bit 0 answers reads of the program by fault_resp, bit 1 those of tensors,
// bit 2 writes. outside counts accesses outside [read_lo, read_hi) and [write_lo, write_hi).
//
// +trace_file=F: a line for each retired instruction: unit, layer, cycle, then all counters.
// +taps_file=F: when a vector instruction retires, bank b of the activation memory is appended to
// file F.b, row by row, so that tensors that never leave the chip can be compared too.

module accelerator_tb
  import df_pkg::*;
#(
  parameter int unsigned MemBytesLog2 = 26,
  parameter int unsigned ReadLatency  = 64,
  parameter int unsigned WriteLatency = 8
) (
  input  logic        clk,
  input  logic        rst_n,
  output logic        done,

  input  logic        awvalid,
  output logic        awready,
  input  logic [11:0] awaddr,
  input  logic        wvalid,
  output logic        wready,
  input  logic [31:0] wdata,
  output logic        bvalid,
  input  logic        bready,
  input  logic        arvalid,
  output logic        arready,
  input  logic [11:0] araddr,
  output logic        rvalid,
  input  logic        rready,
  output logic [31:0] rdata,

  input  logic        mem_rst_n,
  input  logic        load,
  input  logic [2:0]  fault,
  input  logic [1:0]  fault_resp,
  input  logic [63:0] read_lo,
  input  logic [63:0] read_hi,
  input  logic [63:0] write_lo,
  input  logic [63:0] write_hi,
  output logic [31:0] outside,

  input  logic        dump,
  input  logic [63:0] dump_lo,
  input  logic [63:0] dump_hi,
  output logic [31:0] protocol_errors,
  output logic [31:0] hazards,
  output logic [63:0] program_beats
);

  logic                 m_arvalid, m_arready, m_rvalid, m_rready, m_rlast;
  logic [0:0]           m_arid, m_rid, m_awid, m_bid;
  logic [63:0]          m_araddr, m_awaddr;
  logic [7:0]           m_arlen, m_awlen;
  logic [2:0]           m_arsize, m_awsize, m_arprot, m_awprot;
  logic [1:0]           m_arburst, m_awburst, m_rresp, m_bresp, d_rresp, d_bresp;
  logic [3:0]           m_arcache, m_awcache;
  logic [PortBits-1:0]  m_rdata, m_wdata;
  logic [PortBytes-1:0] m_wstrb;
  logic                 m_awvalid, m_awready, m_wvalid, m_wready, m_wlast, m_bvalid, m_bready;
  logic [1:0]           bresp, rresp;
  localparam int unsigned UnitIndexVector = 32'(UnitVector);
  logic [3:0]           retired;
  logic [3:0][15:0]     layer;
  logic [63:0]          read_beats [2];
  logic [63:0]          write_beats, write_bytes;

  accelerator u_accelerator (
    .ap_clk                (clk),
    .ap_rst_n              (rst_n),
    .interrupt             (done),
    .s_axi_control_awvalid (awvalid),
    .s_axi_control_awready (awready),
    .s_axi_control_awaddr  (awaddr),
    .s_axi_control_wvalid  (wvalid),
    .s_axi_control_wready  (wready),
    .s_axi_control_wdata   (wdata),
    .s_axi_control_wstrb   (4'hf),
    .s_axi_control_bvalid  (bvalid),
    .s_axi_control_bready  (bready),
    .s_axi_control_bresp   (bresp),
    .s_axi_control_arvalid (arvalid),
    .s_axi_control_arready (arready),
    .s_axi_control_araddr  (araddr),
    .s_axi_control_rvalid  (rvalid),
    .s_axi_control_rready  (rready),
    .s_axi_control_rdata   (rdata),
    .s_axi_control_rresp   (rresp),
    .m_axi_gmem_arvalid    (m_arvalid),
    .m_axi_gmem_arready    (m_arready),
    .m_axi_gmem_arid       (m_arid),
    .m_axi_gmem_araddr     (m_araddr),
    .m_axi_gmem_arlen      (m_arlen),
    .m_axi_gmem_arsize     (m_arsize),
    .m_axi_gmem_arburst    (m_arburst),
    .m_axi_gmem_arcache    (m_arcache),
    .m_axi_gmem_arprot     (m_arprot),
    .m_axi_gmem_rvalid     (m_rvalid),
    .m_axi_gmem_rready     (m_rready),
    .m_axi_gmem_rid        (m_rid),
    .m_axi_gmem_rdata      (m_rdata),
    .m_axi_gmem_rresp      (m_rresp),
    .m_axi_gmem_rlast      (m_rlast),
    .m_axi_gmem_awvalid    (m_awvalid),
    .m_axi_gmem_awready    (m_awready),
    .m_axi_gmem_awid       (m_awid),
    .m_axi_gmem_awaddr     (m_awaddr),
    .m_axi_gmem_awlen      (m_awlen),
    .m_axi_gmem_awsize     (m_awsize),
    .m_axi_gmem_awburst    (m_awburst),
    .m_axi_gmem_awcache    (m_awcache),
    .m_axi_gmem_awprot     (m_awprot),
    .m_axi_gmem_wvalid     (m_wvalid),
    .m_axi_gmem_wready     (m_wready),
    .m_axi_gmem_wdata      (m_wdata),
    .m_axi_gmem_wstrb      (m_wstrb),
    .m_axi_gmem_wlast      (m_wlast),
    .m_axi_gmem_bvalid     (m_bvalid),
    .m_axi_gmem_bready     (m_bready),
    .m_axi_gmem_bid        (m_bid),
    .m_axi_gmem_bresp      (m_bresp),
    .trace_retired         (retired),
    .trace_layer           (layer)
  );

  dram_model #(
    .DATA_BYTES    (PortBytes),
    .MEM_BYTES_LOG2(MemBytesLog2),
    .READ_LATENCY  (ReadLatency),
    .WRITE_LATENCY (WriteLatency),
    .MAX_READS     (OutstandingReads),
    .MAX_WRITES    (OutstandingReads),
    .BANKS           (DramBanks),
    .ROW_BYTES       (DramRowBytes),
    .BURST_BYTES     (DramBurstBytes),
    .CYCLES          (DramCycles),
    .BYTES_MOVED     (DramBytesMoved),
    .ACTIVATE        (DramActivate),
    .PRECHARGE       (DramPrecharge),
    .WRITE_RECOVERY  (DramWriteRecovery),
    .TO_READ         (DramToRead),
    .TO_WRITE        (DramToWrite),
    .REFRESH         (DramRefresh),
    .REFRESH_INTERVAL(DramRefreshInterval)
  ) u_dram (
    .clk_i            (clk),
    .rst_ni           (mem_rst_n),
    .master_rst_ni    (rst_n),
    .load_i           (load),
    .ar_valid_i       (m_arvalid),
    .ar_ready_o       (m_arready),
    .ar_id_i          (m_arid),
    .ar_addr_i        (m_araddr),
    .ar_len_i         (m_arlen),
    .ar_size_i        (m_arsize),
    .ar_burst_i       (m_arburst),
    .r_valid_o        (m_rvalid),
    .r_ready_i        (m_rready),
    .r_id_o           (m_rid),
    .r_data_o         (m_rdata),
    .r_resp_o         (d_rresp),
    .r_last_o         (m_rlast),
    .aw_valid_i       (m_awvalid),
    .aw_ready_o       (m_awready),
    .aw_id_i          (m_awid),
    .aw_addr_i        (m_awaddr),
    .aw_len_i         (m_awlen),
    .aw_size_i        (m_awsize),
    .aw_burst_i       (m_awburst),
    .w_valid_i        (m_wvalid),
    .w_ready_o        (m_wready),
    .w_data_i         (m_wdata),
    .w_strb_i         (m_wstrb),
    .w_last_i         (m_wlast),
    .b_valid_o        (m_bvalid),
    .b_ready_i        (m_bready),
    .b_id_o           (m_bid),
    .b_resp_o         (d_bresp),
    .dump_i           (dump),
    .dump_lo_i        (dump_lo),
    .dump_hi_i        (dump_hi),
    .read_beats_o     (read_beats),
    .write_beats_o    (write_beats),
    .write_bytes_o    (write_bytes),
    .protocol_errors_o(protocol_errors),
    .hazards_o        (hazards)
  );
  assign program_beats = read_beats[0];
  assign m_rresp = fault[{1'b0, m_rid}] ? fault_resp : d_rresp;
  assign m_bresp = fault[2] ? fault_resp : d_bresp;

  region_monitor #(
    .DataBytes(PortBytes)
  ) u_regions (
    .clk_i     (clk),
    .rst_ni    (mem_rst_n),
    .ar_i      (m_arvalid && m_arready && m_arid[0]),
    .ar_addr_i (m_araddr),
    .ar_len_i  (m_arlen),
    .aw_i      (m_awvalid && m_awready),
    .aw_addr_i (m_awaddr),
    .w_i       (m_wvalid && m_wready),
    .w_strb_i  (m_wstrb),
    .w_last_i  (m_wlast),
    .read_lo_i (read_lo),
    .read_hi_i (read_hi),
    .write_lo_i(write_lo),
    .write_hi_i(write_hi),
    .outside_o (outside)
  );

  string trace_name;
  int    trace_fd;

  initial begin
    trace_fd = 0;
    if ($value$plusargs("trace_file=%s", trace_name)) trace_fd = $fopen(trace_name, "w");
  end

  // The counters as they stand in this cycle: the machine's own are gathered in turns.
  logic [63:0] tally [NumCounters];

  always_ff @(posedge clk) begin
    if (trace_fd != 0) begin
      for (int unsigned i = 0; i < NumCounters; i++) begin
        if (!u_accelerator.u_core.counters_rst_n) tally[i] <= '0;
        else tally[i] <= tally[i] + 64'(u_accelerator.u_core.increments[i]);
      end
      for (int unsigned u = 0; u < 4; u++) begin
        if (retired[u]) begin
          $fwrite(trace_fd, "%0d %0d", u, layer[u]);
          for (int unsigned i = 0; i < NumCounters; i++) begin
            $fwrite(trace_fd, " %0d", i == 32'(CounterErrors) ? u_accelerator.error
                                      : i == 32'(CounterMacsHigh) ? tally[CounterMacsLow][63:32]
                                      : tally[i][31:0]);
          end
          $fwrite(trace_fd, "\n");
        end
      end
      if (done) $fflush(trace_fd);
    end
  end

  // Line l of the activation memory is row l / ActBanks of bank l mod ActBanks.
  for (genvar b = 0; b < ActBanks; b++) begin : gen_tap
    string name;
    int    fd;
    logic  vector_retired_q;

    initial begin
      fd = 0;
      if ($value$plusargs("taps_file=%s", name)) fd = $fopen($sformatf("%s.%0d", name, b), "wb");
    end

    always_ff @(posedge clk) begin
      vector_retired_q <= retired[UnitIndexVector];
      if (fd != 0) begin
        // the last write lands with the edge that ends the retiring cycle
        if (vector_retired_q) begin
          for (int unsigned row = 0; row < ActLines / ActBanks; row++) begin
            $fwrite(fd, "%u", u_accelerator.u_core.u_act.gen_bank[b].u_ram.mem[row]);
          end
        end
        if (done) $fflush(fd);
      end
    end
  end

  logic unused;
  assign unused = ^{m_arprot, m_awprot, m_arcache, m_awcache, bresp, rresp, write_beats,
                    write_bytes, read_beats[1]};

endmodule
