// Has the event that a tile waits for happened?
//
// Reached when counter[event] >= min(cap, base + ((t * step) >> 8)), a signed comparison, t = fires
// so far: the base may be negative (the first tiles need not wait). EventNone is always reached.
// EVENTS has a bit for each event that may be waited for; instr_check refuses the others.
//
// base + t * step / 256 is kept, with its 8 fraction bits, and grows by step with each fire: no
// multiplier. It stops where no counter comes. new_i is read with load_i, wait_i (the same wait)
// from the next cycle on; load_i and fire_i take effect at the clock edge.

module event_wait
  import df_pkg::*;
#(
  parameter logic [NumEvents-1:0] EVENTS = '1
) (
  input  logic                             clk_i,

  input  logic                             load_i,
  // Of the new wait only the base is read, of the running one all but the base, of the counters
  // those of EVENTS.
  // verilator lint_off UNUSEDSIGNAL
  input  wait_t                            new_i,
  input  wait_t                            wait_i,
  input  logic [NumEvents-1:0][EventW-1:0] counters_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic                             fire_i,

  output logic                             reached_o
);

  localparam int unsigned WholeW = EventW + 2;  // a count beyond the largest cap, signed

  logic signed [WholeW-1:0] counter, grown;
  logic signed [WholeW-1:0] target_q;
  logic        [EventW-1:0] count;
  logic        [7:0]        grown_fraction, fraction_q;

  assign {grown, grown_fraction} = {target_q, fraction_q} + (WholeW + 8)'(wait_i.step);

  // The lowest of the events stands for all others: where it is the only one, there is no choice.
  function automatic int unsigned lowest(input logic [NumEvents-1:0] events);
    for (int unsigned e = 0; e < NumEvents; e++) if (events[e]) return e;
    return 0;
  endfunction

  always_comb begin
    count = counters_i[lowest(EVENTS)];
    for (int unsigned e = 0; e < NumEvents; e++) begin
      if (EVENTS[e] && wait_i.event_f == 4'(e)) count = counters_i[e];
    end
  end

  assign counter = signed'(WholeW'(count));
  assign reached_o = wait_i.event_f == EventNone || counter >= target_q
                     || counter >= signed'(WholeW'(wait_i.cap));

  // No reset: load_i comes before any use.
  always_ff @(posedge clk_i) begin
    if (load_i) begin
      fraction_q <= '0;
      target_q <= WholeW'(new_i.base);
    end else if (fire_i && target_q[WholeW-1:EventW] != 2'b01) begin
      fraction_q <= grown_fraction;
      target_q <= grown;
    end
  end

`ifdef FORMAL
  // Proved by induction (tests/formal), for counters that only grow: what was reached stays so
  // until the next fire.
  logic                             f_loaded_q, f_reached_q, f_quiet_q;
  wait_t                            f_wait_q;
  logic [NumEvents-1:0][EventW-1:0] f_counters_q;
  logic signed [WholeW-1:0]         f_target_q;

  initial f_loaded_q = 1'b0;

  always @(posedge clk_i) begin
    if (load_i) f_loaded_q <= 1'b1;
    if (load_i) f_wait_q <= new_i;
    f_quiet_q <= f_loaded_q && !load_i && !fire_i;
    f_reached_q <= reached_o;
    f_counters_q <= counters_i;
    f_target_q <= target_q;
    for (int unsigned e = 0; e < NumEvents; e++) begin
      if (f_loaded_q) assume (counters_i[e] >= f_counters_q[e]);
    end
    if (f_loaded_q) begin
      assume (wait_i == f_wait_q);
      assert (target_q[WholeW-1:EventW] != 2'b10);
      if (f_quiet_q && f_reached_q) assert (reached_o);
      if (f_quiet_q) assert (target_q == f_target_q);
    end
  end
`elsif SYNTHESIS
`else
  // Who drives this is random before its reset: nothing counts in the first cycles.
  logic [1:0] cycles_q;
  initial cycles_q = '0;
  always_ff @(posedge clk_i) if (cycles_q != '1) cycles_q <= cycles_q + 2'd1;

  // Events are counted up only.
  stays_reached: assert property (@(posedge clk_i)
    cycles_q == '1 && reached_o && !fire_i && !load_i
    |=> reached_o || !$stable(wait_i) || ($past(counters_i) != '0 && counters_i == '0))
    else $error("event_wait: an event was reached and is not any more");
`endif

endmodule
