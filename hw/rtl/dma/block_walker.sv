// Walks the segments of a block (rows x columns x contiguous bytes) and cuts them into AXI bursts.
//
// Rows and columns are y_dram_i/x_dram_i bytes apart in DRAM and y_local_i/x_local_i in the local
// memory. The first y_skip_i rows, and in each row the first x_skip_i columns, are passed over. A
// burst never crosses a 4 KiB boundary, has at most MaxBurst beats, and is described by its line-
// aligned address, its length, the offset of its first byte in the first beat, its bytes, and the
// local address of byte 0 of the first beat (so of the byte `offset` places before the first one).
//
// Latency: start_i in cycle c -> first burst offered from c + 1 + y_skip + x_skip; then one burst a
// cycle as long as burst_ready_i, without a gap between segments. The next start_i may come in the
// cycle after the last burst was taken; the strides must hold until then.

module block_walker
  import df_pkg::*;
#(
  localparam int unsigned LocalW = 24,
  localparam int unsigned BytesW = 13  // bytes of a burst, at most 4096
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
  output logic [BytesW-1:0]   burst_bytes_o,
  output logic                burst_last_o  // of the block
);

  localparam int unsigned PageBytes  = 4096;
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
  place_t      row_step, column_step;     // start of the next row, of the next segment
  logic [15:0] y_skip_q, x_skip_q;
  logic [15:0] rows_q, columns_q;         // to walk, this one included
  logic [15:0] columns_all_q;
  logic [31:0] bytes_q, bytes_all_q;      // of the segment: to come; of each segment

  // The next burst.

  logic [BytesW-1:0] bytes, page_left, burst_left;
  logic              segment_last, take;

  always_comb begin
    page_left = BytesW'(PageBytes) - BytesW'(next_q.dram[11:0]);
    burst_left = BytesW'(BurstBytes) - BytesW'(next_q.dram[LineIdxW-1:0]);
    bytes = page_left < burst_left ? page_left : burst_left;
    segment_last = bytes_q <= 32'(bytes);
    if (segment_last) bytes = BytesW'(bytes_q);
  end

  assign burst_valid_o = state_q == Walk;
  assign burst_addr_o = {next_q.dram[AxiAddrW-1:LineIdxW], LineIdxW'(0)};
  assign burst_offset_o = next_q.dram[LineIdxW-1:0];
  assign burst_local_o = next_q.on_chip - LocalW'(burst_offset_o);
  assign burst_bytes_o = bytes;
  assign burst_beats_o = 9'((14'(bytes) + 14'(burst_offset_o) + 14'(LineBytes - 1)) >> LineIdxW);
  assign burst_last_o = segment_last && columns_q == 16'd1 && rows_q == 16'd1;
  assign take = burst_valid_o && burst_ready_i;

  assign row_step.dram = row_q.dram + y_dram_i;
  assign row_step.on_chip = row_q.on_chip + y_local_i;
  assign column_step.dram = segment_q.dram + x_dram_i;
  assign column_step.on_chip = segment_q.on_chip + x_local_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
    end else begin
      unique case (state_q)
        Skip: begin
          if (17'(y_skip_q) + 17'(x_skip_q) == 17'd1) state_q <= Walk;
        end
        Walk: begin
          if (take && burst_last_o) state_q <= Idle;
        end
        default: begin
          if (start_i) state_q <= y_skip_i == '0 && x_skip_i == '0 ? Walk : Skip;
        end
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == Idle) begin
      if (start_i) begin
        row_q <= {dram_i, local_i};
        segment_q <= {dram_i, local_i};
        next_q <= {dram_i, local_i};
        y_skip_q <= y_skip_i;
        x_skip_q <= x_skip_i;
        rows_q <= y_count_i;
        columns_q <= x_count_i;
        columns_all_q <= x_count_i;
        bytes_q <= z_count_i;
        bytes_all_q <= z_count_i;
      end
    end else if (state_q == Skip) begin
      if (y_skip_q != '0) begin
        y_skip_q <= y_skip_q - 16'd1;
        row_q <= row_step;
        segment_q <= row_step;
        next_q <= row_step;
      end else begin
        // The skipped columns are part of where each row starts.
        x_skip_q <= x_skip_q - 16'd1;
        row_q <= column_step;
        segment_q <= column_step;
        next_q <= column_step;
      end
    end else if (take) begin
      if (!segment_last) begin
        next_q.dram <= next_q.dram + AxiAddrW'(bytes);
        next_q.on_chip <= next_q.on_chip + LocalW'(bytes);
        bytes_q <= bytes_q - 32'(bytes);
      end else begin
        bytes_q <= bytes_all_q;
        if (columns_q != 16'd1) begin
          columns_q <= columns_q - 16'd1;
          segment_q <= column_step;
          next_q <= column_step;
        end else begin
          columns_q <= columns_all_q;
          rows_q <= rows_q - 16'd1;
          row_q <= row_step;
          segment_q <= row_step;
          next_q <= row_step;
        end
      end
    end
  end

endmodule
