// Synchronous first-in first-out buffer with valid/ready on both sides.
//
// A word accepted in cycle c is offered from cycle c + 1. Both sides take a word a cycle;
// in_ready_o and out_valid_o depend on registers only. The store is an array that is read
// asynchronously (LUT RAM). With HeadRegister the word that is offered stands in a register, for
// users that decide much by it.

module fifo #(
  parameter int unsigned Width = 32,
  parameter int unsigned Depth = 2,
  parameter bit          HeadRegister = 1'b0
) (
  input  logic             clk_i,
  input  logic             rst_ni,

  input  logic             in_valid_i,
  output logic             in_ready_o,
  input  logic [Width-1:0] in_data_i,

  output logic             out_valid_o,
  input  logic             out_ready_i,
  output logic [Width-1:0] out_data_o
);

  localparam int unsigned PtrW   = $clog2(Depth);
  localparam int unsigned CountW = $clog2(Depth + 1);

  if (Depth < 2) begin : gen_depth_check
    $error("a fifo holds at least 2 words, Depth is %0d", Depth);
  end

  logic [Width-1:0]  store_q [Depth];
  logic [PtrW-1:0]   head_q, tail_q;
  logic [CountW-1:0] count_q;
  logic [PtrW-1:0]   next;
  logic              push, pop;

  assign in_ready_o = count_q != CountW'(Depth);
  assign out_valid_o = count_q != '0;
  assign push = in_valid_i && in_ready_o;
  assign pop = out_valid_o && out_ready_i;
  assign next = head_q == PtrW'(Depth - 1) ? '0 : head_q + PtrW'(1);

  if (HeadRegister) begin : gen_register
    logic [Width-1:0] offered_q;

    always_ff @(posedge clk_i) begin
      if (push && (count_q == '0 || (pop && count_q == CountW'(1)))) offered_q <= in_data_i;
      else if (pop) offered_q <= store_q[next];
    end
    assign out_data_o = offered_q;
  end else begin : gen_store
    assign out_data_o = store_q[head_q];
  end

  always_ff @(posedge clk_i) begin
    if (push) store_q[tail_q] <= in_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      head_q <= '0;
      tail_q <= '0;
      count_q <= '0;
    end else begin
      if (push) tail_q <= tail_q == PtrW'(Depth - 1) ? '0 : tail_q + PtrW'(1);
      if (pop) head_q <= next;
      if (push != pop) count_q <= push ? count_q + CountW'(1) : count_q - CountW'(1);
    end
  end

`ifdef FORMAL
  // Proved by induction (tests/formal): bounds, the hold rule, and that any one word, marked as it
  // comes in, stands where its order says and goes out unchanged.
  (* anyconst *) logic [Width-1:0] f_word;
  (* anyseq *)   logic             f_mark;
  logic              f_reset_q, f_marked_q, f_held_q;
  logic [CountW-1:0] f_ahead_q;  // words before the marked one
  logic [Width-1:0]  f_out_q;
  logic [CountW:0]   f_end, f_place;

  initial f_reset_q = 1'b0;
  assign f_end = {1'b0, CountW'(head_q)} + {1'b0, count_q};
  assign f_place = {1'b0, CountW'(head_q)} + {1'b0, f_ahead_q};

  always @(posedge clk_i) begin
    if (!rst_ni) begin
      f_reset_q  <= 1'b1;
      f_marked_q <= 1'b0;
      f_held_q   <= 1'b0;
    end else begin
      if (f_marked_q && pop) begin
        if (f_ahead_q == '0) f_marked_q <= 1'b0;
        else f_ahead_q <= f_ahead_q - CountW'(1);
      end else if (!f_marked_q && push && f_mark && in_data_i == f_word) begin
        f_marked_q <= 1'b1;
        f_ahead_q  <= count_q - CountW'(pop);
      end
      f_held_q <= out_valid_o && !out_ready_i;
      f_out_q  <= out_data_o;
    end
    if (f_reset_q) begin
      assert (count_q <= CountW'(Depth));
      assert (head_q <= PtrW'(Depth - 1) && tail_q <= PtrW'(Depth - 1));
      assert ((CountW + 1)'(tail_q) == (f_end >= (CountW + 1)'(Depth)
                                        ? f_end - (CountW + 1)'(Depth) : f_end));
      if (f_marked_q) begin
        assert (f_ahead_q < count_q);
        assert (store_q[PtrW'(f_place >= (CountW + 1)'(Depth)
                              ? f_place - (CountW + 1)'(Depth) : f_place)] == f_word);
        if (f_ahead_q == '0) assert (out_valid_o && out_data_o == f_word);
      end
      if (out_valid_o) assert (out_data_o == store_q[head_q]);
      if (f_held_q) assert (out_valid_o && out_data_o == f_out_q);
    end
  end
`elsif SYNTHESIS
`else
  bounded: assert property (@(posedge clk_i) disable iff (!rst_ni)
    count_q <= CountW'(Depth) && 32'(head_q) < Depth && 32'(tail_q) < Depth)
    else $error("fifo: %0d words of %0d", count_q, Depth);
  holds: assert property (@(posedge clk_i) disable iff (!rst_ni)
    out_valid_o && !out_ready_i |=> out_valid_o && $stable(out_data_o))
    else $error("fifo: a word that was offered is gone");
`endif

endmodule
