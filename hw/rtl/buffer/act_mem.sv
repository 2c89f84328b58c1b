// Activation memory: ActBanks banks of one line each, any access at any byte address.
//
// A line is LineBytes bytes; line number mod ActBanks is its bank. An access of LineBytes bytes at
// byte address `addr` touches the line addr / LineBytes and, when unaligned, the next one, which
// lies in the next bank. Byte lanes never change places between banks: the bytes from addr mod
// LineBytes on are those of the first bank, the others those of the next, and one rotation for each
// access brings them into order, before the banks for a write and behind them for a read.
//
// Port A of the banks serves the FeedPorts feed reads. They are never refused: the compiler places
// rows so that the reads of one cycle touch different banks (checked below in simulation).
// Port B serves the clients; client 0 has the highest priority. A client is granted (ready) when
// none of its banks is taken by a granted client of higher priority.
// Read data is registered: valid two cycles after the cycle of the grant (or feed request).

module act_mem
  import df_pkg::*;
#(
  parameter int unsigned Clients = 5,
  parameter int unsigned Writers = 0  // bit c: client c writes; the others read
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic [FeedPorts-1:0]                 feed_valid_i,
  input  logic [FeedPorts-1:0][23:0]           feed_addr_i,
  output logic [FeedPorts-1:0][LineBits-1:0]   feed_data_o,

  input  logic [Clients-1:0]                   valid_i,
  input  logic [Clients-1:0][23:0]             addr_i,
  input  logic [Clients-1:0][LineBits-1:0]     data_i,
  input  logic [Clients-1:0][LineBytes-1:0]    mask_i,
  output logic [Clients-1:0]                   ready_o,
  output logic [Clients-1:0][LineBits-1:0]     data_o   // zero for clients that write
);

  localparam int unsigned Depth  = ActLines / ActBanks;
  localparam int unsigned IdxW   = $clog2(LineBytes);
  localparam int unsigned BankW  = $clog2(ActBanks);
  localparam int unsigned RowW   = Depth > 1 ? $clog2(Depth) : 1;

  if (ActLines % ActBanks != 0) begin : gen_check_lines
    $error("act_mem: ActLines %0d is no multiple of ActBanks %0d", ActLines, ActBanks);
  end

  // Address fields: byte of the line, bank, row of the bank; the rest lies beyond the memory.
  typedef struct packed {
    logic [RowW-1:0]  row;
    logic [BankW-1:0] bank;
  } line_t;

  typedef struct packed {
    line_t            line;
    logic [IdxW-1:0]  shift;
  } place_t;

  logic            a_en   [ActBanks];
  logic [RowW-1:0] a_addr [ActBanks];
  logic [LineBits-1:0] a_data [ActBanks];

  logic            b_en   [ActBanks];
  logic            b_we   [ActBanks];
  logic [RowW-1:0] b_addr [ActBanks];
  logic [LineBits-1:0] b_wdata [ActBanks];
  logic [LineBytes-1:0] b_mask [ActBanks];
  logic [LineBits-1:0] b_data [ActBanks];

  // Port A: each bank takes the feed that asks for it.
  logic conflict;

  always_comb begin
    conflict = 1'b0;
    for (int unsigned b = 0; b < ActBanks; b++) begin
      a_en[b]   = 1'b0;
      a_addr[b] = '0;
    end
    for (int unsigned p = 0; p < FeedPorts; p++) begin
      if (feed_valid_i[p]) begin
        automatic place_t here = place_t'(feed_addr_i[p]);
        automatic line_t next = here.line + 1'b1;
        if (a_en[here.line.bank]) conflict = 1'b1;
        a_en[here.line.bank]   = 1'b1;
        a_addr[here.line.bank] = here.line.row;
        if (here.shift != '0) begin
          if (a_en[next.bank]) conflict = 1'b1;
          a_en[next.bank]   = 1'b1;
          a_addr[next.bank] = next.row;
        end
      end
    end
  end

`ifndef SYNTHESIS
  feed_banks: assert property (@(posedge clk_i) disable iff (!rst_ni) !conflict)
    else $error("act_mem: feed reads of one cycle meet in a bank");
`endif

  // Port B: fixed priority.
  logic [ActBanks-1:0] taken;

  always_comb begin
    taken   = '0;
    ready_o = '0;
    for (int unsigned b = 0; b < ActBanks; b++) begin
      b_we[b]    = 1'b0;
      b_addr[b]  = '0;
      b_wdata[b] = '0;
      b_mask[b]  = '0;
    end
    for (int unsigned c = 0; c < Clients; c++) begin
      automatic place_t here = place_t'(addr_i[c]);
      automatic logic [RowW-1:0] next_row = here.line.row + RowW'(here.line.bank == '1);
      automatic logic [ActBanks-1:0] first = ActBanks'(1) << here.line.bank;
      automatic logic [ActBanks-1:0] second = here.shift != '0
                                              ? {first[ActBanks-2:0], first[ActBanks-1]} : '0;
      if (valid_i[c] && ((first | second) & taken) == '0) begin
        automatic logic [LineBits-1:0] data = rotate_up(data_i[c], here.shift);
        automatic logic [LineBytes-1:0] mask =
            LineBytes'({mask_i[c], mask_i[c]} << here.shift >> LineBytes);
        automatic logic [LineBytes-1:0] own = '1 << here.shift;  // bytes of the first bank
        ready_o[c] = 1'b1;
        taken      = taken | first | second;
        for (int unsigned b = 0; b < ActBanks; b++) begin
          if (first[b]) b_addr[b] = b_addr[b] | here.line.row;
          if (second[b]) b_addr[b] = b_addr[b] | next_row;
          if (Writers[c] && (first[b] || second[b])) begin
            b_we[b]    = 1'b1;
            b_wdata[b] = b_wdata[b] | data;
            b_mask[b]  = b_mask[b] | (mask & (first[b] ? own : ~own));
          end
        end
      end
    end
    for (int unsigned b = 0; b < ActBanks; b++) b_en[b] = taken[b];
  end

  for (genvar b = 0; b < ActBanks; b++) begin : gen_bank
    ram_tdp #(
      .Width(LineBits),
      .Depth(Depth)
    ) u_ram (
      .clk_i,
      .a_en_i  (a_en[b]),
      .a_addr_i(a_addr[b]),
      .a_data_o(a_data[b]),
      .b_en_i  (b_en[b]),
      .b_we_i  (b_we[b]),
      .b_addr_i(b_addr[b]),
      .b_data_i(b_wdata[b]),
      .b_mask_i(b_mask[b]),
      .b_data_o(b_data[b])
    );
  end

  // Output alignment: one cycle for the banks, one for the rotation.
  logic [FeedPorts-1:0]           feed_valid_q;
  logic [FeedPorts-1:0][IdxW+BankW-1:0] feed_place_q;
  logic [Clients-1:0]             read_q;
  logic [Clients-1:0][IdxW+BankW-1:0] place_q;

  always_ff @(posedge clk_i) begin
    feed_valid_q <= feed_valid_i;
    read_q       <= ready_o & ~Clients'(Writers);
    for (int unsigned p = 0; p < FeedPorts; p++) begin
      if (feed_valid_i[p]) feed_place_q[p] <= feed_addr_i[p][IdxW+BankW-1:0];
      if (feed_valid_q[p]) begin
        feed_data_o[p] <= ordered(a_data, feed_place_q[p]);
      end
    end
    for (int unsigned c = 0; c < Clients; c++) begin
      if (ready_o[c] && !Writers[c]) place_q[c] <= addr_i[c][IdxW+BankW-1:0];
      if (Writers[c]) begin
        data_o[c] <= '0;
      end else if (read_q[c]) begin
        data_o[c] <= ordered(b_data, place_q[c]);
      end
    end
  end

  function automatic logic [LineBits-1:0] rotate_up(
    input logic [LineBits-1:0] data, input logic [IdxW-1:0] shift
  );
    return LineBits'({data, data} << {shift, 3'b0} >> LineBits);
  endfunction

  // The line at a place, from the data of the banks.
  function automatic logic [LineBits-1:0] ordered(
    input logic [LineBits-1:0] data [ActBanks], input logic [IdxW+BankW-1:0] place
  );
    logic [LineBits-1:0] lanes;
    logic [BankW-1:0]    bank, next;
    logic [IdxW-1:0]     shift;
    {bank, shift} = place;
    next = bank + 1'b1;
    for (int unsigned i = 0; i < LineBytes; i++) begin
      lanes[8*i +: 8] = data[IdxW'(i) < shift ? next : bank][8*i +: 8];
    end
    return LineBits'({lanes, lanes} >> {shift, 3'b0});
  endfunction

endmodule
