// Between the machine and its AXI4 port: lets no burst out of its region, and ends a job that is
// given up so that the bus is as before it.
//
// While run_i: everything passes through without a register, but a load's burst outside
// [read_first_i, read_end_i) or a store's outside [write_first_i, write_end_i) (numbers of lines)
// is held back and reported in outside_read_o or outside_write_o until the job ends. The program's
// reads pass: fetch asks for nothing beyond the length that the driver gave it.
//
// While stop_i (then run_i is low): nothing new goes out. What was offered and not taken stays
// offered until it is, as AXI asks; held_o says so, and the machine must keep it. Then the machine
// may be reset. Read data and responses are taken and dropped; of write bursts whose address has
// gone out, what is missing is sent with all strobes low. drained_o: no transaction is under way.
//
// The account of transactions outlives a reset of the machine that is shorter than 16 cycles: a
// reset of the machine alone is drained like a job that is given up. A longer one is a reset of the
// bus too, which forgets its transactions. (A slave that takes write data before their address can
// be drained after a job, not after such a reset.)

module bus_guard
  import df_pkg::*;
#(
  localparam int unsigned LineW = AxiAddrW - LineIdxW
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,

  input  logic                 run_i,
  input  logic                 stop_i,
  output logic                 held_o,
  output logic                 drained_o,
  output logic                 outside_read_o,
  output logic                 outside_write_o,
  output logic                 moves_o,         // a handshake on any channel
  output logic                 bus_rst_no,      // low when the bus is reset too
  input  logic [LineW:0]       read_first_i,
  input  logic [LineW:0]       read_end_i,
  input  logic [LineW:0]       write_first_i,
  input  logic [LineW:0]       write_end_i,

  // The machine.
  input  logic                 ar_valid_i,
  output logic                 ar_ready_o,
  input  logic                 ar_id_i,         // 0: the program
  input  logic [AxiAddrW-1:0]  ar_addr_i,
  input  logic [7:0]           ar_len_i,
  output logic                 r_valid_o,
  input  logic                 r_ready_i,
  input  logic                 aw_valid_i,
  output logic                 aw_ready_o,
  input  logic [AxiAddrW-1:0]  aw_addr_i,
  input  logic [7:0]           aw_len_i,
  input  logic                 w_valid_i,
  output logic                 w_ready_o,
  input  logic [LineBytes-1:0] w_strb_i,
  input  logic                 w_last_i,
  output logic                 b_valid_o,

  // The bus. Addresses and data are the machine's.
  output logic                 bus_ar_valid_o,
  input  logic                 bus_ar_ready_i,
  input  logic                 bus_r_valid_i,
  output logic                 bus_r_ready_o,
  input  logic                 bus_r_last_i,
  output logic                 bus_aw_valid_o,
  input  logic                 bus_aw_ready_i,
  output logic                 bus_w_valid_o,
  input  logic                 bus_w_ready_i,
  output logic [LineBytes-1:0] bus_w_strb_o,
  output logic                 bus_w_last_o,
  input  logic                 bus_b_valid_i,
  output logic                 bus_b_ready_o
);

  localparam int unsigned ReadsW  = 10;  // bursts under way: fetch and load have room for fewer
  localparam int unsigned WritesW = 16;
  localparam int unsigned Owed    = 32;  // write bursts whose data is not all out; the store engine
                                         // has at most 20
  localparam logic [3:0]  BusReset = 4'd15;

  // How long the reset has lasted. No reset of its own: it cannot be late, only early.
  logic [3:0] age_q;

  assign bus_rst_no = rst_ni || age_q != BusReset;

  always_ff @(posedge clk_i) begin
    if (rst_ni) age_q <= '0;
    else if (age_q != BusReset) age_q <= age_q + 4'd1;
  end

  // Regions. A burst lies in one page, so its last line differs in the lower bits only.
  // verilator lint_off UNUSEDSIGNAL
  function automatic logic inside_region(input logic [AxiAddrW-1:0] addr, input logic [7:0] len,
                                         input logic [LineW:0] first, input logic [LineW:0] limit);
    logic [LineW:0] line, last;
    line = {1'b0, addr[AxiAddrW-1:LineIdxW]};
    last = line;
    last[11-LineIdxW:0] = line[11-LineIdxW:0] + (12 - LineIdxW)'(len);
    return line >= first && last < limit;
  endfunction
  // verilator lint_on UNUSEDSIGNAL

  logic ar_inside, aw_inside;
  assign ar_inside = !ar_id_i || inside_region(ar_addr_i, ar_len_i, read_first_i, read_end_i);
  assign aw_inside = inside_region(aw_addr_i, aw_len_i, write_first_i, write_end_i);
  assign outside_read_o = run_i && ar_valid_i && !ar_inside;
  assign outside_write_o = run_i && aw_valid_i && !aw_inside;

  // Addresses.
  logic ar_held_q, aw_held_q, w_held_q;  // offered in the cycle before and not taken
  logic ar_pass, aw_pass, w_pass, ar_take, aw_take, owed_ready;

  assign ar_pass = (run_i && ar_inside) || (stop_i && ar_held_q);
  assign aw_pass = (run_i && aw_inside && owed_ready) || (stop_i && aw_held_q);
  assign bus_ar_valid_o = ar_valid_i && ar_pass;
  assign ar_ready_o = bus_ar_ready_i && ar_pass;
  assign bus_aw_valid_o = aw_valid_i && aw_pass;
  assign aw_ready_o = bus_aw_ready_i && aw_pass;
  assign ar_take = bus_ar_valid_o && bus_ar_ready_i;
  assign aw_take = bus_aw_valid_o && bus_aw_ready_i;
  assign held_o = ar_held_q || aw_held_q || w_held_q;

  // Read data and responses.
  assign r_valid_o = bus_r_valid_i && run_i;
  assign bus_r_ready_o = run_i ? r_ready_i : 1'b1;
  assign b_valid_o = bus_b_valid_i && run_i;
  assign bus_b_ready_o = 1'b1;

  // Write data. `owed` holds the lengths of the bursts whose address has gone out and whose data
  // has not; beats_q counts the data of the first one. The machine offers data with its address or
  // behind it, so a burst's data can be out before its address (early_q).
  logic       owed_valid, owed_push, owed_pop, w_take, w_end, fill, early_q;
  logic [7:0] owed_len, beats_q;

  assign fill = !run_i && !stop_i && rst_ni && owed_valid;
  assign w_pass = (run_i && (owed_valid || (aw_valid_i && aw_pass))) || (stop_i && w_held_q);
  assign bus_w_valid_o = fill || (w_valid_i && w_pass);
  assign w_ready_o = bus_w_ready_i && w_pass;
  assign bus_w_strb_o = fill ? '0 : w_strb_i;
  assign bus_w_last_o = fill ? beats_q == owed_len : w_last_i;
  assign w_take = bus_w_valid_o && bus_w_ready_i;
  assign w_end = w_take && bus_w_last_o;
  assign owed_push = aw_take && !early_q && !(w_end && !owed_valid);
  assign owed_pop = w_end && owed_valid;

  fifo #(
    .Width(8),
    .Depth(Owed)
  ) u_owed (
    .clk_i,
    .rst_ni     (bus_rst_no),
    .in_valid_i (owed_push),
    .in_ready_o (owed_ready),
    .in_data_i  (aw_len_i),
    .out_valid_o(owed_valid),
    .out_ready_i(owed_pop),
    .out_data_o (owed_len)
  );

  // The account.
  logic [ReadsW-1:0]  reads_q;
  logic [WritesW-1:0] writes_q;
  logic               r_end, b_take;

  assign r_end = bus_r_valid_i && bus_r_ready_o && bus_r_last_i;
  assign b_take = bus_b_valid_i && bus_b_ready_o;
  assign drained_o = reads_q == '0 && writes_q == '0;
  assign moves_o = ar_take || aw_take || w_take || b_take || (bus_r_valid_i && bus_r_ready_o);

  always_ff @(posedge clk_i) begin
    if (!bus_rst_no) begin
      reads_q <= '0;
      writes_q <= '0;
      beats_q <= '0;
      early_q <= 1'b0;
    end else begin
      reads_q <= reads_q + ReadsW'(ar_take) - ReadsW'(r_end);
      writes_q <= writes_q + WritesW'(aw_take) - WritesW'(b_take);
      if (w_take) beats_q <= w_end ? '0 : beats_q + 8'd1;
      if (w_end && !owed_valid && !aw_take) early_q <= 1'b1;
      else if (aw_take) early_q <= 1'b0;
      // Data of a burst whose address a reset took back.
      if (!rst_ni && !owed_valid) begin
        beats_q <= '0;
        early_q <= 1'b0;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    ar_held_q <= rst_ni && bus_ar_valid_o && !bus_ar_ready_i;
    aw_held_q <= rst_ni && bus_aw_valid_o && !bus_aw_ready_i;
    w_held_q  <= rst_ni && bus_w_valid_o && !bus_w_ready_i;
  end

`ifndef SYNTHESIS
  answered: assert property (@(posedge clk_i) disable iff (!bus_rst_no)
    !(r_end && reads_q == '0) && !(b_take && writes_q == '0))
    else $error("bus_guard: an answer to no transaction");
  room: assert property (@(posedge clk_i) disable iff (!bus_rst_no)
    reads_q != '1 && writes_q != '1 && owed_ready)
    else $error("bus_guard: more transactions than are counted");
  early_has_address: assert property (@(posedge clk_i) disable iff (!rst_ni)
    early_q && stop_i |-> aw_held_q)
    else $error("bus_guard: data is out and its address is not offered");
`endif

endmodule
