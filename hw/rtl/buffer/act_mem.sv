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

  // The banks of an access. Bank 0 is the only one that can be the next of another row.
  typedef struct packed {
    logic [ActBanks-1:0] first;
    logic [ActBanks-1:0] second;  // none when aligned
    logic [RowW-1:0]     row;     // of all banks but bank 0
    logic [RowW-1:0]     row0;    // of bank 0
  } banks_t;

  function automatic banks_t banks_of(input place_t place);
    banks_t at;
    at.first  = ActBanks'(1) << place.line.bank;
    at.second = place.shift != '0 ? {at.first[ActBanks-2:0], at.first[ActBanks-1]} : '0;
    at.row    = place.line.row;
    at.row0   = place.line.row + RowW'(place.line.bank == '1);
    return at;
  endfunction

  // Port A: each bank takes the feed that asks for it.
  logic conflict;

  always_comb begin
    conflict = 1'b0;
    for (int unsigned b = 0; b < ActBanks; b++) begin
      a_en[b]   = 1'b0;
      a_addr[b] = '0;
    end
    for (int unsigned p = 0; p < FeedPorts; p++) begin
      automatic banks_t at = banks_of(place_t'(feed_addr_i[p]));
      for (int unsigned b = 0; b < ActBanks; b++) begin
        if (feed_valid_i[p] && (at.first[b] || at.second[b])) begin
          if (a_en[b]) conflict = 1'b1;
          a_en[b]   = 1'b1;
          a_addr[b] = a_addr[b] | (b == 0 ? at.row0 : at.row);
        end
      end
    end
  end

`ifndef SYNTHESIS
  feed_banks: assert property (@(posedge clk_i) disable iff (!rst_ni) !conflict)
    else $error("act_mem: feed reads of one cycle meet in a bank");
`endif

  // Port B: fixed priority.
  place_t [Clients-1:0]            places;
  banks_t [Clients-1:0]            at;
  logic [Clients-1:0][BankW-1:0]   first_bank;
  logic [Clients-1:0]              unaligned;

  for (genvar c = 0; c < Clients; c++) begin : gen_place
    assign places[c] = place_t'(addr_i[c]);
    assign at[c] = banks_of(places[c]);
    assign first_bank[c] = places[c].line.bank;
    assign unaligned[c] = places[c].shift != '0;
  end

  bank_arbiter #(
    .Clients(Clients),
    .Banks  (ActBanks)
  ) u_arbiter (
    .valid_i,
    .bank_i (first_bank),
    .two_i  (unaligned),
    .grant_o(ready_o)
  );

  always_comb begin
    for (int unsigned b = 0; b < ActBanks; b++) begin
      b_en[b]    = 1'b0;
      b_we[b]    = 1'b0;
      b_addr[b]  = '0;
      b_wdata[b] = '0;
      b_mask[b]  = '0;
    end
    for (int unsigned c = 0; c < Clients; c++) begin
      automatic logic [LineBits-1:0] data = rotate_up(data_i[c], places[c].shift);
      automatic logic [LineBytes-1:0] mask =
          LineBytes'({mask_i[c], mask_i[c]} << places[c].shift >> LineBytes);
      automatic logic [LineBytes-1:0] own = '1 << places[c].shift;  // bytes of the first bank
      for (int unsigned b = 0; b < ActBanks; b++) begin
        if (ready_o[c] && (at[c].first[b] || at[c].second[b])) begin
          b_addr[b] = b_addr[b] | (b == 0 ? at[c].row0 : at[c].row);
          b_en[b]   = 1'b1;
          if (Writers[c]) begin
            b_we[b]    = 1'b1;
            b_wdata[b] = b_wdata[b] | data;
          end
        end
        if (Writers[c] && ready_o[c]) begin
          b_mask[b] = b_mask[b] | (at[c].first[b] ? mask & own : '0)
                      | (at[c].second[b] ? mask & ~own : '0);
        end
      end
    end
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

  // Output alignment: one cycle for the banks, one for the choice of the banks and the rotation.
  // The choice stands decoded in registers, for each lane of a line.
  typedef struct packed {
    logic [LineBytes-1:0]                 odd;   // the lane's bank is the odd one of its pair
    logic [LineBytes-1:0][ActBanks/2-1:0] pair;  // one bit
    logic [IdxW-1:0]                      shift;
  } choice_t;

  logic [FeedPorts-1:0]    feed_valid_q;
  choice_t [FeedPorts-1:0] feed_choice_q;
  logic [Clients-1:0]      read_q;
  choice_t [Clients-1:0]   choice_q;

  always_ff @(posedge clk_i) begin
    feed_valid_q <= feed_valid_i;
    read_q       <= ready_o & ~Clients'(Writers);
    for (int unsigned p = 0; p < FeedPorts; p++) begin
      if (feed_valid_i[p]) feed_choice_q[p] <= choice_of(place_t'(feed_addr_i[p]));
      if (feed_valid_q[p]) begin
        feed_data_o[p] <= ordered(a_data, feed_choice_q[p]);
      end
    end
    for (int unsigned c = 0; c < Clients; c++) begin
      if (!Writers[c]) choice_q[c] <= choice_of(place_t'(addr_i[c]));
      if (Writers[c]) begin
        data_o[c] <= '0;
      end else if (read_q[c]) begin
        data_o[c] <= ordered(b_data, choice_q[c]);
      end
    end
  end

  // The row counts elsewhere.
  // verilator lint_off UNUSEDSIGNAL
  function automatic choice_t choice_of(input place_t place);
  // verilator lint_on UNUSEDSIGNAL
    logic [BankW-1:0] bank;
    choice_of.shift = place.shift;
    for (int unsigned i = 0; i < LineBytes; i++) begin
      bank = place.line.bank + BankW'(IdxW'(i) < place.shift);
      choice_of.odd[i] = bank[0];
      for (int unsigned k = 0; k < ActBanks / 2; k++) begin
        choice_of.pair[i][k] = bank >> 1 == BankW'(k);
      end
    end
  endfunction

  // Rotations, bit of the distance by bit: cheaper than a choice among all distances.
  function automatic logic [LineBits-1:0] rotate_up(
    input logic [LineBits-1:0] data, input logic [IdxW-1:0] shift
  );
    rotate_up = data;
    for (int unsigned k = 0; k < IdxW; k++) begin
      if (shift[k]) rotate_up = LineBits'({rotate_up, rotate_up} << (8 * 2**k) >> LineBits);
    end
  endfunction

  // The line that was chosen. Pairs of banks are asked one after the other: a bit says which bank
  // of a pair is meant until the pair comes, and behind it is the bank's. So a pair is four inputs.
  function automatic logic [LineBits-1:0] ordered(
    input logic [LineBits-1:0] data [ActBanks], input choice_t choice
  );
    for (int unsigned i = 0; i < LineBytes; i++) begin
      ordered[8*i +: 8] = {8{choice.odd[i]}};
      for (int unsigned k = 0; k < ActBanks / 2; k++) begin
        if (choice.pair[i][k]) begin
          ordered[8*i +: 8] = (ordered[8*i +: 8] & data[2*k+1][8*i +: 8])
                              | (~ordered[8*i +: 8] & data[2*k][8*i +: 8]);
        end
      end
    end
    for (int unsigned k = 0; k < IdxW; k++) begin
      if (choice.shift[k]) ordered = LineBits'({ordered, ordered} >> (8 * 2**k));
    end
  endfunction

endmodule
