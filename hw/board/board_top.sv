// A top with seven pins, so that a board has something to load: the accelerator, a small memory
// behind its AXI4 port, and a serial port that reaches the control registers and the memory.
//
// All pins are sampled by clk_i. A command has 66 bits: {op, address, data} of 2, 32 and 32 bits.
// While shift_i is high data_i is shifted in at the low end, the top bit of the command first, and
// the top bit of the register is on data_o. A cycle of go_i (shift_i low) carries the command out:
//   op 0 writes a control register, 1 reads one, 2 writes a 32-bit word of the memory, 3 reads one
// ready_o is low meanwhile; then the lower half of the register holds what was read, and the upper
// half what it held. Addresses of the memory are taken modulo its size.
//
// The memory serves one burst at a time, a read beat every second cycle: it shows that the machine
// works, not how fast.

module board_top
  import df_pkg::*;
#(
  parameter int unsigned MemBytesLog2 = 12
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic shift_i,
  input  logic data_i,
  output logic data_o,
  input  logic go_i,
  output logic ready_o,
  output logic interrupt_o
);

  localparam int unsigned Lines   = 2 ** (MemBytesLog2 - PortIdxW);
  localparam int unsigned LineW   = MemBytesLog2 - PortIdxW;
  localparam int unsigned Parts   = PortBytes / 4;
  localparam int unsigned PartW   = Parts > 1 ? $clog2(Parts) : 1;
  localparam int unsigned CommandW = 66;

  if (MemBytesLog2 < 12) begin : gen_memory_check
    $error("the memory has at least one page of 4 KiB, not 2^%0d bytes", MemBytesLog2);
  end

  // Command register.
  typedef enum logic [2:0] {
    Wait,
    Address,   // AW and W, or AR, of the control port
    Answer,    // its response
    Memory,    // the memory's port is free for the command
    Fetched    // the word that was read is there
  } command_e;

  command_e            command_q;
  logic [CommandW-1:0] shift_q;
  logic [1:0]          op;
  logic [31:0]         address;
  logic                aw_left_q, w_left_q, ar_left_q;
  logic [PartW-1:0]    part;  // of the line of the memory

  assign part = Parts > 1 ? address[2 +: PartW] : '0;
  assign {op, address} = shift_q[CommandW-1:32];
  assign data_o = shift_q[CommandW-1];
  assign ready_o = command_q == Wait;

  logic        c_awready, c_wready, c_bvalid, c_arready, c_rvalid;
  logic [31:0] c_rdata;
  logic [1:0]  c_bresp, c_rresp;

  // Memory.
  typedef enum logic [2:0] {
    Free,
    Write,
    Respond,
    Read,   // the line is being read
    Send
  } state_e;

  state_e               state_q;
  logic [LineW-1:0]     line_q, line;
  logic [7:0]           left_q;
  logic                 id_q, serial, store, fetch;
  logic [PortBits-1:0]  store_data, fetched_q;
  logic [PortBytes-1:0] store_mask;

  logic                 m_arvalid, m_arready, m_rvalid, m_rready, m_awvalid, m_awready;
  logic                 m_wvalid, m_wready, m_wlast, m_bvalid, m_bready;
  logic [0:0]           m_arid, m_awid;
  logic [63:0]          m_araddr, m_awaddr;
  logic [7:0]           m_arlen, m_awlen;
  logic [2:0]           m_arsize, m_awsize, m_arprot, m_awprot;
  logic [1:0]           m_arburst, m_awburst;
  logic [3:0]           m_arcache, m_awcache;
  logic [PortBits-1:0]  m_wdata;
  logic [PortBytes-1:0] m_wstrb;
  logic [3:0]           retired;
  logic [3:0][15:0]     layer;

  assign serial    = command_q == Memory && state_q == Free;
  assign m_awready = state_q == Free && !serial;
  assign m_arready = state_q == Free && !serial && !m_awvalid;
  assign m_wready  = state_q == Write;
  assign m_bvalid  = state_q == Respond;
  assign m_rvalid  = state_q == Send;

  assign line  = serial ? address[MemBytesLog2-1:PortIdxW] : line_q;
  assign store = serial ? !op[0] : state_q == Write && m_wvalid;
  assign fetch = serial ? op[0] : state_q == Read;
  assign store_data = serial ? {Parts{shift_q[31:0]}} : m_wdata;
  assign store_mask = serial ? PortBytes'('hf) << {part, 2'b00} : m_wstrb;

  // One port, as of a block RAM with byte enables: a cycle writes or reads.
  logic [PortBits-1:0] lines_q [Lines];

  always_ff @(posedge clk_i) begin
    if (store) begin
      for (int unsigned b = 0; b < PortBytes; b++) begin
        if (store_mask[b]) lines_q[line][8*b +: 8] <= store_data[8*b +: 8];
      end
    end else if (fetch) begin
      fetched_q <= lines_q[line];
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Free;
    end else begin
      unique case (state_q)
        Free: begin
          if (m_awvalid && m_awready) begin
            state_q <= Write;
            line_q <= m_awaddr[MemBytesLog2-1:PortIdxW];
          end else if (m_arvalid && m_arready) begin
            state_q <= Read;
            line_q <= m_araddr[MemBytesLog2-1:PortIdxW];
            left_q <= m_arlen;
            id_q <= m_arid[0];
          end
        end
        Write: begin
          if (m_wvalid) begin
            line_q <= line_q + LineW'(1);
            if (m_wlast) state_q <= Respond;
          end
        end
        Respond: if (m_bready) state_q <= Free;
        Read: state_q <= Send;
        Send: begin
          if (m_rready) begin
            line_q <= line_q + LineW'(1);
            left_q <= left_q - 8'd1;
            state_q <= left_q == '0 ? Free : Read;
          end
        end
        default: state_q <= Free;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      command_q <= Wait;
      aw_left_q <= 1'b0;
      w_left_q  <= 1'b0;
      ar_left_q <= 1'b0;
      shift_q   <= '0;
    end else begin
      if (c_awready) aw_left_q <= 1'b0;
      if (c_wready) w_left_q <= 1'b0;
      if (c_arready) ar_left_q <= 1'b0;
      unique case (command_q)
        Wait: begin
          if (shift_i) begin
            shift_q <= {shift_q[CommandW-2:0], data_i};
          end else if (go_i) begin
            command_q <= op[1] ? Memory : Address;
            aw_left_q <= op == 2'd0;
            w_left_q  <= op == 2'd0;
            ar_left_q <= op == 2'd1;
          end
        end
        Address: command_q <= Answer;
        Answer: begin
          if (c_bvalid || c_rvalid) command_q <= Wait;
          if (c_rvalid) shift_q[31:0] <= c_rdata;
        end
        Memory: if (serial) command_q <= op[0] ? Fetched : Wait;
        Fetched: begin
          command_q <= Wait;
          shift_q[31:0] <= fetched_q[32*part +: 32];
        end
        default: command_q <= Wait;
      endcase
    end
  end

  accelerator u_accelerator (
    .ap_clk                (clk_i),
    .ap_rst_n              (rst_ni),
    .interrupt             (interrupt_o),
    .s_axi_control_awvalid (aw_left_q),
    .s_axi_control_awready (c_awready),
    .s_axi_control_awaddr  (address[11:0]),
    .s_axi_control_wvalid  (w_left_q),
    .s_axi_control_wready  (c_wready),
    .s_axi_control_wdata   (shift_q[31:0]),
    .s_axi_control_wstrb   (4'hf),
    .s_axi_control_bvalid  (c_bvalid),
    .s_axi_control_bready  (1'b1),
    .s_axi_control_bresp   (c_bresp),
    .s_axi_control_arvalid (ar_left_q),
    .s_axi_control_arready (c_arready),
    .s_axi_control_araddr  (address[11:0]),
    .s_axi_control_rvalid  (c_rvalid),
    .s_axi_control_rready  (1'b1),
    .s_axi_control_rdata   (c_rdata),
    .s_axi_control_rresp   (c_rresp),
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
    .m_axi_gmem_rid        (id_q),
    .m_axi_gmem_rdata      (fetched_q),
    .m_axi_gmem_rresp      (2'b00),
    .m_axi_gmem_rlast      (left_q == '0),
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
    .m_axi_gmem_bid        (1'b0),
    .m_axi_gmem_bresp      (2'b00),
    .trace_retired         (retired),
    .trace_layer           (layer)
  );

  logic unused;
  assign unused = ^{retired, layer, c_bresp, c_rresp, m_arsize, m_awsize, m_arprot, m_awprot,
                    m_arburst, m_awburst, m_arcache, m_awcache, m_awid, m_awlen, m_araddr, m_awaddr,
                    address};

endmodule
