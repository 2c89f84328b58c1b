// Who may use the banks of a memory in this cycle. Combinational.
//
// Client c asks for bank bank_i[c], and for the next one (behind the last comes the first) when
// two_i[c]. Client 0 has the highest priority: a client is granted when none of its banks is taken
// by a granted client of higher priority. Which clients meet in a bank is known for all pairs at
// once; only who gives way to whom goes from client to client.

module bank_arbiter #(
  parameter  int unsigned Clients = 5,
  parameter  int unsigned Banks   = 8,  // a power of two above 1
  localparam int unsigned BankW   = $clog2(Banks)
) (
`ifdef FORMAL
  input  logic                          clk_i,
`endif
  input  logic [Clients-1:0]            valid_i,
  input  logic [Clients-1:0][BankW-1:0] bank_i,
  input  logic [Clients-1:0]            two_i,

  output logic [Clients-1:0]            grant_o
);

  if (Banks < 2 || Banks != 1 << BankW) begin : gen_banks_check
    $error("bank_arbiter: %0d banks is no power of two above 1", Banks);
  end

  // Two accesses meet where the first bank of both is the same, or the second of one is the first
  // of the other; two seconds are the same where two firsts are.
  always_comb begin
    automatic logic [Clients-1:0] granted = '0;
    for (int unsigned c = 0; c < Clients; c++) begin
      granted[c] = valid_i[c];
      for (int unsigned d = 0; d < c; d++) begin
        automatic logic [BankW-1:0] behind = bank_i[c] - bank_i[d];
        if (granted[d] && (behind == '0 || (behind == BankW'(1) && two_i[d])
                           || (behind == '1 && two_i[c]))) begin
          granted[c] = 1'b0;
        end
      end
    end
    grant_o = granted;
  end

`ifdef FORMAL
  // Proved (tests/formal): granted clients share no bank, and whoever is refused meets a granted
  // client of higher priority.
  logic [Banks-1:0] f_banks [Clients];

  for (genvar c = 0; c < Clients; c++) begin : gen_banks
    for (genvar b = 0; b < Banks; b++) begin : gen_bank
      assign f_banks[c][b] = bank_i[c] == BankW'(b)
                             || (two_i[c] && bank_i[c] == BankW'(b + Banks - 1));
    end
  end

  always @(posedge clk_i) begin
    for (int unsigned c = 0; c < Clients; c++) begin
      automatic logic taken = 1'b0;
      for (int unsigned d = 0; d < c; d++) begin
        if (grant_o[d] && (f_banks[c] & f_banks[d]) != '0) taken = 1'b1;
      end
      assert (grant_o[c] == (valid_i[c] && !taken));
    end
  end
`endif

endmodule
