// AXI4-Lite control slave with the register map of Vitis HLS block control (ap_ctrl_hs).
//
// The registers are those of hw/registers.json: df_pkg has their offsets. CTRL:
//   bit 0 ap_start      read/write 1; cleared by the handshake (ap_ready)
//   bit 1 ap_done       set by done_i, cleared by reading CTRL
//   bit 2 ap_idle       read only
//   bit 3 ap_ready      set by done_i, cleared by reading CTRL
//   bit 7 auto_restart  read/write
//
// Everything else reads zero and ignores writes; responses are always OKAY. Byte strobes hold for
// every writable register. The machine takes one job at a time, so ap_ready comes with ap_done:
// ap_start stays set from the write until done_i (and beyond with auto_restart). start_o is high
// for one cycle when a job begins: ap_start set, no job running, idle_i high. So a start while a
// job runs changes nothing. The core takes over the arguments with start_o; later writes hold for
// the next job. stop_o is high for one cycle when bit 0 of STOP is written.
//
// An address and its data may come in any order and are held until both are there; a write takes
// effect at the edge at which its response becomes valid. A read shows the state of the cycle of
// its AR handshake, its data is valid in the next cycle; a counter is read when it next passes by.
// Counters pass by one a cycle, number count_index_i with count_i.

module axil_ctrl
  import df_pkg::*;
#(
  parameter int unsigned ADDR_WIDTH = 12,
  parameter int unsigned NUM_COUNTERS = 16,   // at least 2
  parameter logic [31:0] BUILD_ID = 32'h0,
  localparam int unsigned IndexW = $clog2(NUM_COUNTERS)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,

  input  logic                  aw_valid_i,
  output logic                  aw_ready_o,
  input  logic [ADDR_WIDTH-1:0] aw_addr_i,
  input  logic                  w_valid_i,
  output logic                  w_ready_o,
  input  logic [31:0]           w_data_i,
  input  logic [3:0]            w_strb_i,
  output logic                  b_valid_o,
  input  logic                  b_ready_i,
  output logic [1:0]            b_resp_o,
  input  logic                  ar_valid_i,
  output logic                  ar_ready_o,
  input  logic [ADDR_WIDTH-1:0] ar_addr_i,
  output logic                  r_valid_o,
  input  logic                  r_ready_i,
  output logic [31:0]           r_data_o,
  output logic [1:0]            r_resp_o,

  output logic                  start_o,          // one cycle
  input  logic                  done_i,           // one cycle
  input  logic                  idle_i,
  output logic [63:0]           program_addr_o,
  output logic [31:0]           program_bytes_o,
  output logic [63:0]           tensor_base_o,
  output logic [31:0]           read_limit_o,
  output logic [31:0]           write_first_o,
  output logic [31:0]           write_limit_o,
  output logic [31:0]           job_limit_o,
  output logic [31:0]           progress_limit_o,
  output logic                  stop_o,           // one cycle
  output logic                  interrupt_o,

  input  logic [31:0]           error_code_i,
  input  logic [31:0]           cause_i,
  input  logic                  count_valid_i,
  input  logic [IndexW-1:0]     count_index_i,
  input  logic [31:0]           count_i
);

  // Registers by word number.
  localparam int unsigned WordWidth = ADDR_WIDTH - 2;
  typedef logic [WordWidth-1:0] word_t;
  localparam word_t Ctrl = word_t'(RegCtrl / 4);
  localparam word_t Gie = word_t'(RegGie / 4);
  localparam word_t Ier = word_t'(RegIer / 4);
  localparam word_t Isr = word_t'(RegIsr / 4);
  localparam word_t ProgramLow = word_t'(RegProgramLow / 4);
  localparam word_t ProgramHigh = word_t'(RegProgramHigh / 4);
  localparam word_t ProgramBytes = word_t'(RegProgramBytes / 4);
  localparam word_t TensorLow = word_t'(RegTensorLow / 4);
  localparam word_t TensorHigh = word_t'(RegTensorHigh / 4);
  localparam word_t BuildId = word_t'(RegBuildId / 4);
  localparam word_t ErrorCode = word_t'(RegError / 4);
  localparam word_t Counters = word_t'(RegCounters / 4);
  localparam word_t ReadLimit = word_t'(RegReadLimit / 4);
  localparam word_t WriteFirst = word_t'(RegWriteFirst / 4);
  localparam word_t WriteLimit = word_t'(RegWriteLimit / 4);
  localparam word_t JobLimit = word_t'(RegJobLimit / 4);
  localparam word_t ProgressLimit = word_t'(RegProgressLimit / 4);
  localparam word_t Stop = word_t'(RegStop / 4);
  localparam word_t Cause = word_t'(RegCause / 4);

  // The arguments of a job: registers that are written by bytes.
  localparam int unsigned Arguments = 10;
  localparam word_t ArgumentWords [Arguments] = '{
    ProgramLow, ProgramHigh, ProgramBytes, TensorLow, TensorHigh,
    ReadLimit, WriteFirst, WriteLimit, JobLimit, ProgressLimit
  };

  if (RegCounters + 4 * NUM_COUNTERS > RegReadLimit) begin : gen_map_check
    $error("%0d counters do not fit below the limits", NUM_COUNTERS);
  end
  if (RegCause >= 2 ** ADDR_WIDTH) begin : gen_space_check
    $error("the registers do not fit in %0d address bits", ADDR_WIDTH);
  end

  // Accesses are by words.
  logic unused_address;
  assign unused_address = ^{aw_addr_i[1:0], ar_addr_i[1:0]};

  // Write channels: address and data are held apart until both are there.

  logic        aw_held_q, w_held_q;
  word_t       write_word_q;
  logic [31:0] write_data_q;
  logic [3:0]  write_strobes_q;
  logic        write;

  assign aw_ready_o = !aw_held_q;
  assign w_ready_o = !w_held_q;
  assign write = aw_held_q && w_held_q && (!b_valid_o || b_ready_i);
  assign b_resp_o = 2'b00;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      aw_held_q <= 1'b0;
      w_held_q <= 1'b0;
      b_valid_o <= 1'b0;
    end else begin
      if (aw_ready_o) begin
        aw_held_q <= aw_valid_i;
        write_word_q <= aw_addr_i[ADDR_WIDTH-1:2];
      end
      if (w_ready_o) begin
        w_held_q <= w_valid_i;
        write_data_q <= w_data_i;
        write_strobes_q <= w_strb_i;
      end
      if (write) begin
        aw_held_q <= 1'b0;
        w_held_q <= 1'b0;
      end
      if (!b_valid_o || b_ready_i) b_valid_o <= write;
    end
  end

  // Registers.

  logic [Arguments-1:0][31:0] argument_q;

  assign program_addr_o = {argument_q[1], argument_q[0]};
  assign program_bytes_o = argument_q[2];
  assign tensor_base_o = {argument_q[4], argument_q[3]};
  assign read_limit_o = argument_q[5];
  assign write_first_o = argument_q[6];
  assign write_limit_o = argument_q[7];
  assign job_limit_o = argument_q[8];
  assign progress_limit_o = argument_q[9];

  logic       start_q, running_q, auto_restart_q;
  logic       done_q, ready_q;
  logic       gie_q;
  logic [1:0] ier_q, isr_q;
  logic       read_ctrl;
  logic       write_low;  // the write carries its lowest byte, where all control bits are

  assign write_low = write && write_strobes_q[0];
  assign start_o = start_q && !running_q && idle_i;
  assign stop_o = write_low && write_word_q == Stop && write_data_q[0];
  assign interrupt_o = gie_q && isr_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      start_q <= 1'b0;
      running_q <= 1'b0;
      auto_restart_q <= 1'b0;
      done_q <= 1'b0;
      ready_q <= 1'b0;
      gie_q <= 1'b0;
      ier_q <= '0;
      isr_q <= '0;
      argument_q <= '0;
    end else begin
      if (done_i) start_q <= auto_restart_q;
      if (start_o) running_q <= 1'b1;
      if (done_i) running_q <= 1'b0;

      // An event in the cycle of a clearing read is kept for the next read.
      if (read_ctrl) begin
        done_q <= 1'b0;
        ready_q <= 1'b0;
      end
      if (done_i) begin
        done_q <= 1'b1;
        ready_q <= 1'b1;
      end

      if (write_low) begin
        unique case (write_word_q)
          Ctrl: begin
            if (write_data_q[0]) start_q <= 1'b1;
            auto_restart_q <= write_data_q[7];
          end
          Gie: gie_q <= write_data_q[0];
          Ier: ier_q <= write_data_q[1:0];
          Isr: isr_q <= isr_q ^ write_data_q[1:0];
          default: ;
        endcase
      end
      // An event wins over a toggle in the same cycle, as in the HLS adapter.
      if (done_i) begin
        for (int n = 0; n < 2; n++) if (ier_q[n]) isr_q[n] <= 1'b1;
      end

      for (int unsigned n = 0; n < Arguments; n++) begin
        for (int unsigned k = 0; k < 4; k++) begin
          if (write && write_word_q == ArgumentWords[n] && write_strobes_q[k]) begin
            argument_q[n][k*8 +: 8] <= write_data_q[k*8 +: 8];
          end
        end
      end
    end
  end

  // Read channels: the words that are not read are zero, and what is left of them is an OR.

  word_t       read_word, counter_word_q;
  logic        read, read_counter;
  logic        counter_q;  // a counter has been asked for
  logic [31:0] word;

  assign ar_ready_o = (!r_valid_o || r_ready_i) && !counter_q;
  assign read = ar_valid_i && ar_ready_o;
  assign read_word = ar_addr_i[ADDR_WIDTH-1:2];
  assign read_ctrl = read && read_word == Ctrl;
  assign read_counter = read && read_word >= Counters
                        && read_word < Counters + word_t'(NUM_COUNTERS);
  assign r_resp_o = 2'b00;

  always_comb begin
    word = '0;
    if (read_word == Ctrl) begin
      word |= {24'b0, auto_restart_q, 3'b0, ready_q, idle_i && !start_q && !running_q, done_q,
               start_q};
    end
    if (read_word == Gie) word |= {31'b0, gie_q};
    if (read_word == Ier) word |= {30'b0, ier_q};
    if (read_word == Isr) word |= {30'b0, isr_q};
    if (read_word == BuildId) word |= BUILD_ID;
    if (read_word == ErrorCode) word |= error_code_i;
    if (read_word == Cause) word |= cause_i;
    for (int unsigned n = 0; n < Arguments; n++) begin
      if (read_word == ArgumentWords[n]) word |= argument_q[n];
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      r_valid_o <= 1'b0;
      counter_q <= 1'b0;
    end else begin
      if (ar_ready_o) begin
        r_valid_o <= read && !read_counter;
        r_data_o <= word;
        counter_q <= read_counter;
        counter_word_q <= read_word;
      end
      if (counter_q && count_valid_i && counter_word_q == Counters + word_t'(count_index_i)) begin
        r_valid_o <= 1'b1;
        r_data_o <= count_i;
        counter_q <= 1'b0;
      end
    end
  end

endmodule
