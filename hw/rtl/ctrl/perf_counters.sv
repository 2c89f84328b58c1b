// Counts of what happens, in one memory.
//
// What happens is gathered in small registers. They take turns, one a cycle: what has been gathered
// is added to the count in the memory, and the count passes by at count_o, with its number at
// index_o, in the cycle after its turn. A count that passes by holds all that came until three
// cycles before, a chained one four, one of single events two. All start again from zero when
// rst_ni is low; the first round of turns reads no memory.
//
// BITS is the width of each increment, at least 1. The count CHAINED, if there is one, goes on from
// the one before it, whose carry is its increment; its own increment is not read.

module perf_counters #(
  parameter int unsigned COUNTERS = 4,
  parameter int unsigned WIDTH = 8,  // of the widest increment
  parameter logic [COUNTERS-1:0][7:0] BITS = {COUNTERS{8'd1}},
  parameter int unsigned CHAINED = COUNTERS,
  localparam int unsigned IndexW = $clog2(COUNTERS)
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic [COUNTERS-1:0][WIDTH-1:0] increments_i,
  output logic                           valid_o,
  output logic [IndexW-1:0]              index_o,
  output logic [31:0]                    count_o
);

  localparam int unsigned RoundW = $clog2(COUNTERS + 1);
  localparam int unsigned GatherW = WIDTH + RoundW;

  if (COUNTERS < 2) begin : gen_check
    $error("%0d counters have no turns: at least 2", COUNTERS);
  end
  if (GatherW > 32) begin : gen_gather_check
    $error("a round of increments of %0d bits carries more than once", WIDTH);
  end

  // Turns.

  logic [COUNTERS-1:0] turn_q;  // one-hot
  logic [IndexW-1:0]   slot_q, added_slot_q;
  logic                first_round_q, last;

  assign last = turn_q[COUNTERS-1];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      turn_q <= COUNTERS'(1);
      slot_q <= '0;
      first_round_q <= 1'b1;
      valid_o <= 1'b0;
    end else begin
      turn_q <= {turn_q[COUNTERS-2:0], last};
      slot_q <= last ? '0 : slot_q + 1'b1;
      if (last) first_round_q <= 1'b0;
      valid_o <= 1'b1;
    end
  end

  // Gathered since the last turn. What comes with the turn itself goes along: a single event as the
  // carry of the sum, a wider increment as what is gathered first.

  // Waived: above its BITS an increment is not read.
  // verilator lint_off UNUSEDSIGNAL
  logic [COUNTERS-1:0][WIDTH-1:0]   increments_q;
  // verilator lint_on UNUSEDSIGNAL
  logic [COUNTERS-1:0][GatherW-1:0] gathered;
  logic [COUNTERS-1:0]              along;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) increments_q <= '0;
    else increments_q <= increments_i;
  end

  for (genvar n = 0; n < int'(COUNTERS); n++) begin : gen_counter
    localparam int unsigned Own = 32'(BITS[n]);
    localparam int unsigned Bits = Own + RoundW;
    if (n == int'(CHAINED)) begin : gen_chained
      assign gathered[n] = '0;
      assign along[n] = 1'b0;
    end else begin : gen_own
      logic [Bits-1:0] gathered_q;
      assign gathered[n] = GatherW'(gathered_q);
      if (Own == 1) begin : gen_event
        assign along[n] = turn_q[n] && increments_q[n][0];
        always_ff @(posedge clk_i) begin
          if (!rst_ni || turn_q[n]) gathered_q <= '0;
          else gathered_q <= gathered_q + Bits'(increments_q[n][0]);
        end
      end else begin : gen_sum
        assign along[n] = 1'b0;
        always_ff @(posedge clk_i) begin
          if (!rst_ni) gathered_q <= '0;
          else begin
            gathered_q <= (turn_q[n] ? '0 : gathered_q) + Bits'(increments_q[n][Own-1:0]);
          end
        end
      end
    end
  end

  // The sum.

  (* ram_style = "block" *) (* no_rw_check *)
  logic [31:0] mem [COUNTERS];

  logic [31:0]         read_q;
  logic [GatherW-1:0]  added_q;
  logic                along_q, chained_q, carry, carry_q;

  assign {carry, count_o} = {1'b0, read_q} + 33'(added_q)
                            + 33'(chained_q ? carry_q : along_q);
  assign index_o = added_slot_q;

  always_ff @(posedge clk_i) begin
    if (first_round_q) read_q <= '0;
    else read_q <= mem[slot_q];
    if (valid_o) mem[added_slot_q] <= count_o;
    added_q <= gathered[slot_q];
    added_slot_q <= slot_q;
    along_q <= along != '0;
    chained_q <= 32'(slot_q) == CHAINED;
    carry_q <= carry;
  end

endmodule
