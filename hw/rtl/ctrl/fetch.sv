// Program fetch: reads the program with bursts and deals its instructions to the engines' queues.
//
// start_i (one cycle, while idle) takes address and length. A burst (at most MaxBurst beats, inside
// one 4 KiB page) is requested when the beats on their way and in the buffer leave room for it, so
// a beat that arrives is always taken. The header in an instruction's first beat names the queue
// and the number of beats; one beat is dealt per cycle, in program order, when its queue has room.
// The END instruction stops requests; what still arrives behind it is dropped. END holds the sum of
// all 32-bit words before it (layer: lower half, reserved: upper half), each added by exclusive or
// to the sum so far rotated left by one.
//
// Latency: start_i in cycle c -> first request c + 1, a further one per cycle. A beat that arrives
// in cycle c is dealt in c + 1 at the earliest and seen by the queue's collector in c + 2.
//
// done_o rises when END has been read (or an error) and all requested beats have been received, two
// cycles after the last of both has left the buffer, and stays until the next start. error_o: a
// header has another version, an unknown unit, length 0 or (END) flags; the sum differs; there is
// no END; the program's address is not line aligned.

module fetch
  import df_pkg::*;
#(
  parameter int unsigned Depth = FifoBeats  // of the beat buffer: two bursts or more keep AR busy
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                start_i,
  input  logic [AxiAddrW-1:0] program_addr_i,
  input  logic [31:0]         program_bytes_i,  // a last partial beat counts whole
  output logic                done_o,
  output job_error_e          error_o,

  output logic                req_valid_o,
  input  logic                req_ready_i,
  output logic [AxiAddrW-1:0] req_addr_o,
  output logic [7:0]          req_len_o,

  input  logic                r_valid_i,
  output logic                r_ready_o,
  input  logic [LineBits-1:0] r_data_i,

  output logic [3:0]          beat_valid_o,  // by unit: load, array, vector, store
  input  logic [3:0]          beat_ready_i,
  output logic [LineBits-1:0] beat_data_o
);

  localparam int unsigned PageBeats = 4096 / LineBytes;
  localparam int unsigned BeatsW    = 32 - LineIdxW;
  localparam int unsigned ReservedW = $clog2(Depth + 1);
  localparam int unsigned UnitW     = 2;
  localparam int unsigned BurstW    = $clog2(MaxBurst + 1);
  localparam int unsigned IndexW    = $clog2(PageBeats);
  localparam int unsigned SumW      = ReservedW + 1;  // Depth holds a burst

  if (Depth < MaxBurst) begin : gen_depth_check
    $error("a buffer of %0d beats has no room for a burst of %0d", Depth, MaxBurst);
  end
  if (LineBytes < 8) begin : gen_header_check
    $error("the header of an instruction needs a beat of 8 bytes, not %0d", LineBytes);
  end

  typedef enum logic [1:0] {
    Idle,
    Run,    // requests and deals
    Drain,  // drops what still arrives
    Done
  } state_e;

  state_e               state_q;
  job_error_e           error_q;
  logic [AxiAddrW-1:0]  addr_q;
  logic [BeatsW-1:0]    left_q;      // beats not yet requested
  logic [ReservedW-1:0] reserved_q;  // beats requested and not yet dealt
  logic [UnitW-1:0]     unit_q;      // of the instruction that is being dealt
  logic [15:0]          body_q;      // its beats to come; 0: a header comes
  logic [31:0]          sum_q, sum;  // of the words before this beat; with it

  // Requests. The length of the next burst is found out with the request of the one before.

  logic [BurstW-1:0] burst_q, burst;  // burst: behind the one that is under way, or the first
  logic [IndexW-1:0] index;           // where it begins in its page, beats
  logic [IndexW:0]   room;            // to the page's end
  logic [BurstW-1:0] most;
  logic [BeatsW-1:0] left;            // beats from there on
  logic              begins, request;

  always_comb begin
    index = begins ? program_addr_i[11:LineIdxW] : addr_q[11:LineIdxW] + IndexW'(burst_q);
    left = begins ? program_bytes_i[31:LineIdxW] + BeatsW'(program_bytes_i[LineIdxW-1:0] != '0)
                  : left_q - BeatsW'(burst_q);
    room = (IndexW + 1)'(PageBeats) - (IndexW + 1)'(index);
    most = room < (IndexW + 1)'(MaxBurst) ? BurstW'(room) : BurstW'(MaxBurst);
    burst = left[BeatsW-1:BurstW] != '0 || left[BurstW-1:0] > most ? most : left[BurstW-1:0];
  end

  assign begins = state_q == Idle || state_q == Done;
  assign req_valid_o = state_q == Run && left_q != '0
                       && SumW'(reserved_q) + SumW'(burst_q) <= SumW'(Depth);
  assign req_addr_o = addr_q;
  assign req_len_o = 8'(burst_q - BurstW'(1));
  assign request = req_valid_o && req_ready_i;

  // Buffer.

  logic beat_valid, beat_ready, beat_pop;
  logic known, is_end;  // of the beat, should it be a header

  fifo #(
    .Width(LineBits + 2),
    .Depth(Depth)
  ) u_beats (
    .clk_i,
    .rst_ni,
    .in_valid_i (r_valid_i),
    .in_ready_o (r_ready_o),
    .in_data_i  ({header_known(r_data_i[31:0]), r_data_i[11:8] == UnitEnd, r_data_i}),
    .out_valid_o(beat_valid),
    .out_ready_i(beat_ready),
    .out_data_o ({known, is_end, beat_data_o})
  );

  // A beat is looked at before it enters the buffer, which is late in its cycle when it leaves: is
  // it a header that is understood?
  function automatic logic header_known(input logic [31:0] beat);
    return beat[7:0] == 8'(IsaVersion) && beat[31:16] != '0
           && (beat[11:8] == UnitEnd ? beat[15:12] == '0 && beat[31:16] == 16'd1
                                     : beat[11:8] <= UnitStore);
  endfunction

  // Dealing.

  logic             is_header, sum_right;
  logic [UnitW-1:0] header_unit;
  logic [15:0]      header_beats;
  logic [UnitW-1:0] target;

  assign header_unit = beat_data_o[8+:UnitW];
  assign header_beats = beat_data_o[31:16];
  assign is_header = body_q == '0;
  assign sum_right = sum_q == {beat_data_o[63:48], beat_data_o[47:32]};
  assign target = is_header ? header_unit : unit_q;

  always_comb begin
    sum = sum_q;
    for (int unsigned w = 0; w < LineBits / 32; w++) begin
      sum = {sum[30:0], sum[31]} ^ beat_data_o[32*w +: 32];
    end
  end

  always_comb begin
    beat_valid_o = '0;
    beat_ready = 1'b0;
    if (state_q == Run) begin
      if (is_header && (!known || is_end)) begin
        beat_ready = 1'b1;
      end else begin
        beat_valid_o[target] = beat_valid;
        beat_ready = beat_ready_i[target];
      end
    end else begin
      beat_ready = 1'b1;
    end
  end

  assign beat_pop = beat_valid && beat_ready;
  assign done_o = state_q == Done;
  assign error_o = error_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      error_q <= ErrorNone;
      left_q <= '0;
      reserved_q <= '0;
      body_q <= '0;
    end else begin
      reserved_q <= reserved_q + (request ? ReservedW'(burst_q) : '0) - ReservedW'(beat_pop);
      if (request) begin
        addr_q <= addr_q + (AxiAddrW'(burst_q) << LineIdxW);
        left_q <= left;
      end
      if (request || begins) burst_q <= burst;
      unique case (state_q)
        Run: begin
          if (beat_pop) begin
            sum_q <= sum;
            if (is_header) begin
              unit_q <= header_unit;
              body_q <= header_beats - 16'd1;
              if (!known || is_end) begin
                state_q <= Drain;
                body_q <= '0;
                if (!known) error_q <= ErrorHeader;
                else if (!sum_right) error_q <= ErrorChecksum;
              end
            end else begin
              body_q <= body_q - 16'd1;
            end
          end else if (left_q == '0 && reserved_q == '0) begin
            state_q <= Done;
            error_q <= ErrorNoEnd;
          end
        end
        Drain: begin
          if (reserved_q == '0) state_q <= Done;
        end
        default: begin  // Idle, Done
          if (start_i) begin
            state_q <= program_addr_i[LineIdxW-1:0] == '0 ? Run : Done;
            error_q <= program_addr_i[LineIdxW-1:0] == '0 ? ErrorNone
                                                            : ErrorProgramAddress;
            addr_q <= program_addr_i;
            left_q <= left;
            body_q <= '0;
            sum_q <= '0;
          end
        end
      endcase
    end
  end

endmodule
