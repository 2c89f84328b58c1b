// Accumulators: two halves of AccLines lines of Cols x 32 bit, one read and one write port each.
//
// The array works on one half while the vector unit reads the other; the engines' events keep them
// apart, so each half's read port has one user at a time. Reads are registered (one cycle).

module acc_mem
  import df_pkg::*;
#(
  localparam int unsigned AddrW = $clog2(AccLines)
) (
  input  logic               clk_i,

  input  logic               array_rd_i,
  input  logic               array_rd_half_i,
  input  logic [AddrW-1:0]   array_rd_addr_i,
  output logic [Cols*32-1:0] array_data_o,

  input  logic               array_we_i,
  input  logic               array_wr_half_i,
  input  logic [AddrW-1:0]   array_wr_addr_i,
  input  logic [Cols*32-1:0] array_wr_data_i,

  input  logic               vector_rd_i,
  input  logic               vector_half_i,
  input  logic [AddrW-1:0]   vector_addr_i,
  output logic [Cols*32-1:0] vector_data_o
);

  logic [Cols*32-1:0] data [2];
  logic               array_half_q, vector_half_q;

  for (genvar h = 0; h < 2; h++) begin : gen_half
    logic [Cols*32-1:0] mem [AccLines];
    logic               by_vector;
    logic [AddrW-1:0]   addr;

    assign by_vector = vector_rd_i && vector_half_i == 1'(h);
    assign addr      = by_vector ? vector_addr_i : array_rd_addr_i;

    always_ff @(posedge clk_i) begin
      if (by_vector || (array_rd_i && array_rd_half_i == 1'(h))) begin
        data[h] <= mem[addr];
      end
      if (array_we_i && array_wr_half_i == 1'(h)) begin
        mem[array_wr_addr_i] <= array_wr_data_i;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (array_rd_i) array_half_q <= array_rd_half_i;
    if (vector_rd_i) vector_half_q <= vector_half_i;
  end

  assign array_data_o  = data[array_half_q];
  assign vector_data_o = data[vector_half_q];

endmodule
