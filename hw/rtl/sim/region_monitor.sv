// Watches an AXI4 master for accesses outside its regions, for simulation only: read bursts that
// touch a byte outside [read_lo_i, read_hi_i), and bytes written (strobe set) outside
// [write_lo_i, write_hi_i). Each such burst or byte counts in outside_o.
//
// Addresses before data: a write beat belongs to the oldest address that has not got all its data.

module region_monitor #(
  parameter int unsigned DataBytes = 16
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,

  input  logic                 ar_i,        // handshakes
  input  logic [63:0]          ar_addr_i,
  input  logic [7:0]           ar_len_i,
  input  logic                 aw_i,
  input  logic [63:0]          aw_addr_i,
  input  logic                 w_i,
  input  logic [DataBytes-1:0] w_strb_i,
  input  logic                 w_last_i,

  input  logic [63:0]          read_lo_i,
  input  logic [63:0]          read_hi_i,
  input  logic [63:0]          write_lo_i,
  input  logic [63:0]          write_hi_i,
  output logic [31:0]          outside_o
);

  logic [63:0] bursts [$];
  logic [63:0] at_q;      // of the beat that comes, when a burst is under way
  logic        under_way;
  int unsigned told;

  // A model, not hardware.
  // verilator lint_off BLKSEQ
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      outside_o <= '0;
      under_way = 1'b0;
      bursts.delete();
      told = 0;
    end else begin
      automatic int unsigned found = 0;
      if (ar_i && (ar_addr_i < read_lo_i
                   || ar_addr_i + (64'(ar_len_i) + 64'd1) * 64'(DataBytes) > read_hi_i)) begin
        found++;
        if (told < 5) $display("region_monitor: read burst at %0h", ar_addr_i);
        told++;
      end
      if (aw_i) bursts.push_back(aw_addr_i);
      if (w_i) begin
        if (!under_way) at_q = bursts.pop_front();
        for (int unsigned b = 0; b < DataBytes; b++) begin
          if (w_strb_i[b] && (at_q + 64'(b) < write_lo_i || at_q + 64'(b) >= write_hi_i)) begin
            found++;
            if (told < 5) $display("region_monitor: byte written at %0h", at_q + 64'(b));
            told++;
          end
        end
        at_q = at_q + 64'(DataBytes);
        under_way = !w_last_i;
      end
      outside_o <= outside_o + found;
    end
  end
  // verilator lint_on BLKSEQ

endmodule
