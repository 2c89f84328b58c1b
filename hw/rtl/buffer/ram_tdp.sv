// True dual-port RAM: port A reads, port B reads or writes with byte enables. Registered reads.
//
// A cycle of port B reads or writes: b_data_o keeps its value in a write. A port A read of a word
// that port B writes in the same cycle is not used by the machine (events order the engines).

module ram_tdp #(
  parameter int unsigned Width = 128,
  parameter int unsigned Depth = 1024,
  localparam int unsigned AddrW = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic               clk_i,

  input  logic               a_en_i,
  input  logic [AddrW-1:0]   a_addr_i,
  output logic [Width-1:0]   a_data_o,

  input  logic               b_en_i,
  input  logic               b_we_i,
  input  logic [AddrW-1:0]   b_addr_i,
  input  logic [Width-1:0]   b_data_i,
  input  logic [Width/8-1:0] b_mask_i,
  output logic [Width-1:0]   b_data_o
);

  (* no_rw_check *)
  logic [Width-1:0] mem [Depth];

  always_ff @(posedge clk_i) begin
    if (a_en_i) begin
      a_data_o <= mem[a_addr_i];
    end
  end

  always_ff @(posedge clk_i) begin
    if (b_en_i) begin
      if (b_we_i) begin
        for (int unsigned i = 0; i < Width / 8; i++) begin
          if (b_mask_i[i]) begin
            mem[b_addr_i][i*8 +: 8] <= b_data_i[i*8 +: 8];
          end
        end
      end else begin
        b_data_o <= mem[b_addr_i];
      end
    end
  end

endmodule
