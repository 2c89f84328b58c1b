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
    // What a read returns in the cycle of its line's write is not used: the reader asks again.
    (* no_rw_check *)
    logic [Part-1:0] mem [Depth];

    always_ff @(posedge clk_i) begin
      if (we_i[p]) mem[wr_addr_i] <= wr_data_i[p*Part +: Part];
      if (rd_i) rd_data_o[p*Part +: Part] <= mem[rd_addr_i];
    end
  end

endmodule
