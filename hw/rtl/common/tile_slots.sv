// Offset of a tile reference's slot, (t mod slots) * slot_bytes with t = fires so far in its
// instruction, kept by addition. With slots_i = 0 the offset stays 0.
//
// fire_i counts one fire at the clock edge; the outputs before it are those of the firing tile.
// slots_i and slot_bytes_i are read with fire_i.

module tile_slots #(
  parameter int unsigned Width = 24
) (
  input  logic              clk_i,

  input  logic              load_i,
  input  logic              fire_i,
  input  logic [3:0]        slots_i,
  input  logic [Width-1:0]  slot_bytes_i,

  output logic [Width-1:0]  offset_o
);

  logic [3:0]        slot_q;
  logic [Width-1:0]  offset_q;

  assign offset_o = offset_q;

  // No reset: load_i comes before any use.
  always_ff @(posedge clk_i) begin
    if (load_i) begin
      slot_q <= '0;
      offset_q <= '0;
    end else if (fire_i) begin
      if (slots_i == '0 || slot_q == slots_i - 4'd1) begin
        slot_q <= '0;
        offset_q <= '0;
      end else begin
        slot_q <= slot_q + 4'd1;
        offset_q <= offset_q + slot_bytes_i;
      end
    end
  end

`ifndef SYNTHESIS
  // Who drives this is random before its reset: nothing counts in the first cycles.
  logic [1:0] cycles_q;
  initial cycles_q = '0;
  always_ff @(posedge clk_i) if (cycles_q != '1) cycles_q <= cycles_q + 2'd1;

  slot_exists: assert property (@(posedge clk_i) cycles_q == '1 &&
    fire_i && !load_i && slots_i != '0 |-> slot_q < slots_i)
    else $error("tile_slots: slot %0d of %0d", slot_q, slots_i);
`endif

endmodule
