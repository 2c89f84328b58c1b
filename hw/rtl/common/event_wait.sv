// Has the event that a tile waits for happened? Combinational.
//
// Reached when counter[event] >= min(cap, base + ((t * step) >> 8)), a signed comparison: the base
// may be negative (the first tiles need not wait). EventNone is always reached.

module event_wait
  import df_pkg::*;
(
  input  wait_t                            wait_i,
  input  logic [EventW-1:0]                t_i,  // fires of the reference so far
  input  logic [NumEvents-1:0][EventW-1:0] counters_i,

  output logic                             reached_o
);

  localparam int unsigned ProductW = 2 * EventW;
  localparam int unsigned WideW    = ProductW - 8 + 2;  // the shifted product plus a signed base

  logic        [ProductW-1:0] product;
  logic signed [WideW-1:0]    wanted;
  logic signed [WideW-1:0]    counter;

  always_comb begin
    product = ProductW'(t_i) * ProductW'(wait_i.step);
    wanted = WideW'(wait_i.base) + signed'(WideW'(product >> 8));
    counter = signed'(WideW'(counters_i[wait_i.event_f]));
    if (wanted > signed'(WideW'(wait_i.cap))) wanted = signed'(WideW'(wait_i.cap));
    reached_o = wait_i.event_f == EventNone || counter >= wanted;
  end

endmodule
