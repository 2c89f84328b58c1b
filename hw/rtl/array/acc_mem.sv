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

  logic [Cols*32-1:0] data0, data1;
  logic               array_half_q, vector_half_q;

`ifndef SYNTHESIS
  // Who drives this is random before its reset: nothing counts in the first cycles.
  logic [1:0] cycles_q;
  initial cycles_q = '0;
  always_ff @(posedge clk_i) if (cycles_q != '1) cycles_q <= cycles_q + 2'd1;
`endif

  for (genvar h = 0; h < 2; h++) begin : gen_half
    // A line is not read in the cycle of its write (asserted below): no path between the two.
    (* no_rw_check *)
    logic [Cols*32-1:0] mem [AccLines];
    logic [Cols*32-1:0] data_q;  // the memory's own register: one for each half
    logic               rd, we, by_vector;
    logic [AddrW-1:0]   addr;

    assign by_vector = vector_rd_i && vector_half_i == 1'(h);
    assign addr      = by_vector ? vector_addr_i : array_rd_addr_i;
    assign rd        = by_vector || (array_rd_i && array_rd_half_i == 1'(h));
    assign we        = array_we_i && array_wr_half_i == 1'(h);

    always_ff @(posedge clk_i) begin
      if (rd) data_q <= mem[addr];
      if (we) mem[array_wr_addr_i] <= array_wr_data_i;
    end

`ifndef SYNTHESIS
    one_user: assert property (@(posedge clk_i)
      !(cycles_q == '1 && by_vector && array_rd_i && array_rd_half_i == 1'(h)))
      else $error("acc_mem: array and vector unit read half %0d in one cycle", h);
    no_collision: assert property (@(posedge clk_i)
      !(cycles_q == '1 && rd && we && addr == array_wr_addr_i))
      else $error("acc_mem: line %0d is read in the cycle of its write", addr);
`endif
  end
  assign data0 = gen_half[0].data_q;
  assign data1 = gen_half[1].data_q;

  always_ff @(posedge clk_i) begin
    if (array_rd_i) array_half_q <= array_rd_half_i;
    if (vector_rd_i) vector_half_q <= vector_half_i;
  end

  assign array_data_o  = array_half_q ? data1 : data0;
  assign vector_data_o = vector_half_q ? data1 : data0;

endmodule
