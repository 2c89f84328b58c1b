// Walks the segments of a block (rows x columns x contiguous bytes) and cuts them into AXI bursts.
//
// Rows and columns are y_dram_i/x_dram_i bytes apart in DRAM and y_local_i/x_local_i in the local
// memory. The first y_skip_i rows, and in each row the first x_skip_i columns, are passed over. A
// burst never crosses a 4 KiB boundary, has at most MaxBurst beats, and is described by its line-
// aligned address, its length, the offset of its first byte in the first beat, the bytes of the
// last beat behind its last byte, and the local address of byte 0 of the first beat (so of the
// byte `offset` places before the first one).
//
// Latency: start_i in cycle c -> first burst offered from c + 1 + y_skip + x_skip; then one burst a
// cycle as long as burst_ready_i, without a gap between segments. The next start_i may come in the
// cycle after the last burst was taken; the strides must hold until then.

module block_walker
  import df_pkg::*;
#(
  parameter bit Skips = 1'b1,  // 0: nothing is ever passed over
  localparam int unsigned LocalW = 24
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                start_i,
  input  logic [AxiAddrW-1:0] dram_i,     // first byte of row 0, column 0 (before the skips)
  input  logic [LocalW-1:0]   local_i,
  input  logic [15:0]         y_skip_i,
  input  logic [15:0]         y_count_i,  // rows to walk, at least 1
  input  logic [15:0]         x_skip_i,
  input  logic [15:0]         x_count_i,  // at least 1
  input  logic [31:0]         z_count_i,  // bytes of a segment, at least 1
  input  logic [AxiAddrW-1:0] y_dram_i,
  input  logic [AxiAddrW-1:0] x_dram_i,
  input  logic [LocalW-1:0]   y_local_i,
  input  logic [LocalW-1:0]   x_local_i,

  output logic                burst_valid_o,
  input  logic                burst_ready_i,
  output logic [AxiAddrW-1:0] burst_addr_o,
  output logic [8:0]          burst_beats_o,
  output logic [LocalW-1:0]   burst_local_o,
  output logic [LineIdxW-1:0] burst_offset_o,
  output logic [LineIdxW-1:0] burst_pad_o,
  output logic                burst_last_o  // of the block
);

  localparam int unsigned PageBytes  = 4096;
  localparam int unsigned PageLines  = PageBytes / LineBytes;
  localparam int unsigned LinesW     = $clog2(PageLines) + 1;
  localparam int unsigned LeftW      = 33 - LineIdxW;
  localparam int unsigned BurstBytes = MaxBurst * LineBytes;

  if (BurstBytes > PageBytes || MaxBurst > 256) begin : gen_burst_check
    $error("a burst of %0d beats of %0d bytes exceeds 256 beats or 4096 bytes", MaxBurst,
           LineBytes);
  end

  typedef enum logic [1:0] {
    Idle,
    Skip,
    Walk
  } state_e;

  typedef struct packed {
    logic [AxiAddrW-1:0] dram;
    logic [LocalW-1:0]   on_chip;
  } place_t;

  state_e      state_q;
  place_t      row_q, segment_q, next_q;  // start of the row, of the segment, of the next burst
  logic [15:0] y_skip_q, x_skip_q, y_skip, x_skip;
  logic [15:0] rows_q, columns_q;         // to walk, this one included
  logic [15:0] columns_all_q;
  logic [31:0] bytes_all_q;               // of each segment
  logic [LeftW-1:0]    left_q;            // lines of the segment to come, partial ones included
  logic [LineIdxW-1:0] pad_q;             // bytes of its last line behind its end
  logic [LinesW-1:0]   lines_q;           // of a burst as long as page and MaxBurst allow

  // The next burst: up to the end of the page and MaxBurst lines, or of the segment. Its length is
  // all that the ready of others waits for, so it comes from registers with one comparison.

  logic [LineIdxW-1:0] offset;
  logic [LineIdxW-1:0] pad;
  logic                segment_last, take;
  (* keep *) logic [LinesW:0] spare;  // a difference, so that it stays a chain of carries

  assign offset = next_q.dram[LineIdxW-1:0];
  assign spare = {1'b0, lines_q} - {1'b0, left_q[LinesW-1:0]};
  assign segment_last = left_q[LeftW-1:LinesW] == '0 && !spare[LinesW];
  assign pad = segment_last ? pad_q : '0;

  assign burst_valid_o = state_q == Walk;
  assign burst_addr_o = {next_q.dram[AxiAddrW-1:LineIdxW], LineIdxW'(0)};
  assign burst_offset_o = offset;
  assign burst_local_o = next_q.on_chip - LocalW'(offset);
  assign burst_pad_o = pad;
  assign burst_beats_o = 9'(segment_last ? left_q[LinesW-1:0] : lines_q);
  assign burst_last_o = segment_last && columns_q == 16'd1 && rows_q == 16'd1;
  assign take = burst_valid_o && burst_ready_i;

  assign y_skip = Skips ? y_skip_q : '0;
  assign x_skip = Skips ? x_skip_q : '0;

  // Where a segment begins: of the block, of the next row or of the next column.

  logic   down, begins;
  place_t from, step, fresh, next;

  assign down = Skips && state_q == Skip ? y_skip != '0 : columns_q == 16'd1;
  assign from = down ? row_q : segment_q;
  assign step = down ? {y_dram_i, y_local_i} : {x_dram_i, x_local_i};
  assign fresh.dram = state_q == Idle ? dram_i : from.dram + step.dram;
  assign fresh.on_chip = state_q == Idle ? local_i : from.on_chip + step.on_chip;

  // Where the next burst begins: with a segment, or behind the last burst.

  logic [LinesW-1:0] page_left;
  logic [32:0]       reach;  // of the segment, from the first beat's byte 0, rounded up to a line

  assign begins = state_q != Walk || segment_last;
  assign next.dram = begins ? fresh.dram
                     : {next_q.dram[AxiAddrW-1:LineIdxW] + (AxiAddrW - LineIdxW)'(lines_q),
                        LineIdxW'(0)};
  assign next.on_chip = begins ? fresh.on_chip
                        : next_q.on_chip + LocalW'({lines_q, LineIdxW'(0)}) - LocalW'(offset);
  assign page_left = LinesW'(PageLines) - LinesW'(next.dram[11:LineIdxW]);
  assign reach = 33'(state_q == Idle ? z_count_i : bytes_all_q)
                 + 33'((LineIdxW + 1)'(fresh.dram[LineIdxW-1:0]) + (LineIdxW + 1)'(LineBytes - 1));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
    end else begin
      unique case (state_q)
        Skip: begin
          if (y_skip == 16'd1 ? x_skip == '0 : y_skip == '0 && x_skip == 16'd1) begin
            state_q <= Walk;
          end
        end
        Walk: begin
          if (take && burst_last_o) state_q <= Idle;
        end
        default: begin
          if (start_i) state_q <= !Skips || (y_skip_i == '0 && x_skip_i == '0) ? Walk : Skip;
        end
      endcase
    end
  end

  // The skipped rows and columns are part of where the block and each row start.
  always_ff @(posedge clk_i) begin
    if (state_q == Skip || (state_q == Idle ? start_i : take && segment_last && down)) begin
      row_q <= fresh;
    end
    if (state_q == Skip || (state_q == Idle ? start_i : take && segment_last)) begin
      segment_q <= fresh;
    end
    if (state_q != Walk || take) begin
      next_q <= next;
      lines_q <= page_left < LinesW'(MaxBurst) ? page_left : LinesW'(MaxBurst);
      left_q <= begins ? reach[32:LineIdxW] : left_q - LeftW'(lines_q);
      if (begins) pad_q <= ~reach[LineIdxW-1:0];
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == Idle) begin
      y_skip_q <= y_skip_i;
      x_skip_q <= x_skip_i;
      rows_q <= y_count_i;
      columns_q <= x_count_i;
      columns_all_q <= x_count_i;
      bytes_all_q <= z_count_i;
    end else if (state_q == Skip) begin
      if (y_skip != '0) y_skip_q <= y_skip - 16'd1;
      else x_skip_q <= x_skip - 16'd1;
    end else if (take && segment_last) begin
      columns_q <= down ? columns_all_q : columns_q - 16'd1;
      if (down) rows_q <= rows_q - 16'd1;
    end
  end

`ifdef FORMAL
  // Proved by induction (tests/formal): a burst has a beat at least and MaxBurst at most, stays in
  // its page, and the bursts of a segment end where the segment's last byte lies.
  logic                f_reset_q, f_walk_q;
  logic [AxiAddrW-1:0] f_end_q;  // of the segment's last byte
  logic [AxiAddrW-1:0] f_line;   // of the last line that is to come

  initial f_reset_q = 1'b0;
  assign f_line = next_q.dram[AxiAddrW-1:LineIdxW] + AxiAddrW'(left_q) - AxiAddrW'(1);

  always @(posedge clk_i) begin
    if (!rst_ni) f_reset_q <= 1'b1;
    assume (z_count_i != '0 && z_count_i[31:AxiAddrW-2] == '0);
    if (state_q != Walk || (take && segment_last)) begin
      f_end_q <= fresh.dram + AxiAddrW'(state_q == Idle ? z_count_i : bytes_all_q) - AxiAddrW'(1);
    end
    f_walk_q <= f_reset_q && rst_ni;
    if (f_reset_q && f_walk_q && state_q != Idle) begin
      assert (bytes_all_q != '0 && bytes_all_q[31:AxiAddrW-2] == '0);
    end
    if (f_reset_q && f_walk_q && state_q == Walk) begin
      assert (left_q != '0 && left_q[LeftW-1:AxiAddrW-LineIdxW] == '0);
      assert (lines_q != '0 && 32'(lines_q) <= MaxBurst);
      assert (32'(next_q.dram[11:LineIdxW]) + 32'(lines_q) <= PageLines);
      assert (burst_beats_o != '0 && 32'(burst_beats_o) <= MaxBurst);
      assert (32'(burst_addr_o[11:LineIdxW]) + 32'(burst_beats_o) <= PageLines);
      assert (f_line[AxiAddrW-LineIdxW-1:0] == f_end_q[AxiAddrW-1:LineIdxW]);
      assert (pad_q == ~f_end_q[LineIdxW-1:0]);
    end
  end
`endif

endmodule
