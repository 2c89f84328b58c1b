// When the answers to bursts are due, for `dram_model`: simulation only.
//
// With BANKS 0 a burst's data moves at once, whatever else is under way.
// With BANKS above 0 the memory is a DRAM that serves one burst at a time, in order of arrival: a
// read arrives with its AR handshake, a write with its WLAST, the read first where both come.
//   * A burst moves the aligned blocks of BURST_BYTES that it touches, BYTES_MOVED bytes in CYCLES.
//   * Row n (of ROW_BYTES) is row n / BANKS of bank n mod BANKS. Data of the open row may move at
//     once; else ACTIVATE cycles after the arrival or, when another row is open, PRECHARGE +
//     ACTIVATE cycles after the last data of that bank (WRITE_RECOVERY more when it was a write). A
//     burst counts to the row of its first byte.
//   * A change of direction leaves the data bus empty for TO_READ or TO_WRITE cycles.
//   * Every REFRESH_INTERVAL cycles, when the data bus is free, it rests for REFRESH cycles and all
//     rows are closed. The first burst, and one after so long a time without any, begins such an
//     interval: a controller refreshes when nothing is to do.
// Then READ_LATENCY runs from the cycle in which data begins to move (or from as much later as lets
// the last beat not overtake its data), and WRITE_LATENCY from the cycle in which all has moved.

module dram_timing #(
  parameter  int unsigned BEAT_BYTES = 16,
  parameter  int unsigned READ_LATENCY = 64,
  parameter  int unsigned WRITE_LATENCY = 8,
  parameter  int unsigned MAX_READS = 16,
  parameter  int unsigned MAX_WRITES = 16,
  parameter  int unsigned BANKS = 0,
  parameter  int unsigned ROW_BYTES = 2048,
  parameter  int unsigned BURST_BYTES = 16,
  parameter  int unsigned CYCLES = 1,
  parameter  int unsigned BYTES_MOVED = 16,
  parameter  int unsigned ACTIVATE = 0,
  parameter  int unsigned PRECHARGE = 0,
  parameter  int unsigned WRITE_RECOVERY = 0,
  parameter  int unsigned TO_READ = 0,
  parameter  int unsigned TO_WRITE = 0,
  parameter  int unsigned REFRESH = 0,
  parameter  int unsigned REFRESH_INTERVAL = 1,
  localparam int unsigned ReadIndex = $clog2(MAX_READS),
  localparam int unsigned WriteIndex = $clog2(MAX_WRITES)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic [63:0]           cycle_i,

  input  logic                  read_i,           // the AR handshake
  input  logic [ReadIndex-1:0]  read_entry_i,     // of read_due_o, for this burst
  input  logic [63:0]           read_address_i,   // of the first beat
  input  logic [7:0]            read_length_i,    // beats, less one

  input  logic                  write_i,          // the WLAST handshake
  input  logic [WriteIndex-1:0] write_entry_i,
  input  logic [63:0]           write_address_i,
  input  logic [7:0]            write_length_i,

  output logic [63:0]           read_due_o [MAX_READS],   // cycle of the first R beat
  output logic [63:0]           write_due_o [MAX_WRITES]  // cycle of the B beat
);

  typedef logic [63:0] cycle_t;

  localparam int unsigned Banks = BANKS == 0 ? 1 : BANKS;
  localparam int unsigned BankW = Banks > 1 ? $clog2(Banks) : 1;

  cycle_t      free;              // the first cycle without data
  cycle_t      refresh;           // the next one is due
  logic        used;              // there was a burst
  logic        writes;            // the last burst did
  logic        row_open [Banks];
  logic [63:0] row_of [Banks];
  cycle_t      settled [Banks];   // another row may be opened

  // Data of a burst begins to move in the returned cycle and has moved before `free`.
  // A model, not hardware.
  // verilator lint_off BLKSEQ
  function automatic cycle_t move(input cycle_t now, input logic [63:0] address,
                                  input logic [63:0] bytes, input logic is_write);
    logic [63:0] blocks, index, row;
    logic [BankW-1:0] bank;
    cycle_t      from;
    if (BANKS == 0) begin
      free = now;
      return now;
    end
    if (!used || now >= free + cycle_t'(REFRESH_INTERVAL)) begin
      used = 1'b1;
      refresh = now + cycle_t'(REFRESH_INTERVAL);
      for (int b = 0; b < int'(Banks); b++) row_open[b] = 1'b0;
    end
    while ((now > free ? now : free) >= refresh) begin
      free = (refresh > free ? refresh : free) + cycle_t'(REFRESH);
      refresh = refresh + cycle_t'(REFRESH_INTERVAL);
      for (int b = 0; b < int'(Banks); b++) row_open[b] = 1'b0;
    end
    blocks = (address + bytes - 64'd1) / 64'(BURST_BYTES) - address / 64'(BURST_BYTES) + 64'd1;
    index = address / 64'(ROW_BYTES);
    bank = BankW'(index % 64'(Banks));
    row = index / 64'(Banks);
    from = now;
    if (!row_open[bank]) begin
      from = now + cycle_t'(ACTIVATE);
    end else if (row_of[bank] != row) begin
      from = (now > settled[bank] ? now : settled[bank]) + cycle_t'(PRECHARGE) + cycle_t'(ACTIVATE);
    end
    if (writes != is_write) free = free + (is_write ? cycle_t'(TO_WRITE) : cycle_t'(TO_READ));
    if (free > from) from = free;
    free = from + (blocks * 64'(BURST_BYTES) * 64'(CYCLES) + 64'(BYTES_MOVED) - 64'd1)
                  / 64'(BYTES_MOVED);
    writes = is_write;
    row_open[bank] = 1'b1;
    row_of[bank] = row;
    settled[bank] = free + (is_write ? cycle_t'(WRITE_RECOVERY) : '0);
    return from;
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      free = '0;
      used = 1'b0;
      writes = 1'b0;
    end else begin
      if (read_i) begin
        automatic cycle_t beats = cycle_t'(read_length_i) + 64'd1;
        automatic cycle_t first;
        first = move(cycle_i, read_address_i, beats * 64'(BEAT_BYTES), 1'b0);
        // The last beat leaves no earlier than its data has come.
        if (free > first + beats) first = free - beats;
        read_due_o[read_entry_i] <= first + cycle_t'(READ_LATENCY);
      end
      if (write_i) begin
        automatic cycle_t beats = cycle_t'(write_length_i) + 64'd1;
        void'(move(cycle_i, write_address_i, beats * 64'(BEAT_BYTES), 1'b1));
        write_due_o[write_entry_i] <= free + cycle_t'(WRITE_LATENCY);
      end
    end
  end
  // verilator lint_on BLKSEQ

endmodule
