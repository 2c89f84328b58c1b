// Simple dual-port RAM of one ring: a write port with lane enables, a registered read port.

module line_ram #(
  parameter int unsigned Width = 128,
  parameter int unsigned Parts = 1,  // independently written parts of a line
  parameter int unsigned Depth = 1024,
  localparam int unsigned AddrW = $clog2(Depth)
) (
  input  logic             clk_i,
  input  logic [Parts-1:0] we_i,
  input  logic [AddrW-1:0] wr_addr_i,
  input  logic [Width-1:0] wr_data_i,
  input  logic             rd_i,
  input  logic [AddrW-1:0] rd_addr_i,
  output logic [Width-1:0] rd_data_o
);

  localparam int unsigned Part = Width / Parts;

  for (genvar p = 0; p < Parts; p++) begin : gen_part
    (* no_rw_check *)
    logic [Part-1:0] mem [Depth];

    always_ff @(posedge clk_i) begin
      if (we_i[p]) mem[wr_addr_i] <= wr_data_i[p*Part +: Part];
      if (rd_i) rd_data_o[p*Part +: Part] <= mem[rd_addr_i];
    end
  end

`ifndef SYNTHESIS
  // Who drives this is random before its reset: nothing counts in the first cycles.
  logic [1:0] cycles_q;
  initial cycles_q = '0;
  always_ff @(posedge clk_i) if (cycles_q != '1) cycles_q <= cycles_q + 2'd1;

  // Ring pointers keep reads behind writes: what a collision returns is nobody's business.
  no_collision: assert property (@(posedge clk_i)
    !(cycles_q == '1 && rd_i && we_i != '0 && wr_addr_i == rd_addr_i))
    else $error("line_ram: line %0d is read in the cycle of its write", rd_addr_i);
`endif

endmodule
