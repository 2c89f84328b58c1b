// Instruction queue of one engine: a FIFO of program beats and a register that holds the fixed
// fields of the next instruction.
//
// Beats leave the FIFO one a cycle. The first StructBeats of an instruction fill the register; then
// instr_valid_o offers it until instr_take_i. The other beats that header.beats counts (the
// payload, vector only) are offered on payload_* after the take; then the next instruction is
// collected.
//
// Latency: the last fixed beat accepted in cycle c -> instr_valid_o from c + 2 (FIFO, register).
// instr_take_i in cycle c -> first payload beat or first collected beat in c + 1; so instructions
// whose beats are all waiting follow each other at best StructBeats + payload beats + 1 cycles
// apart.

module instr_queue
  import df_pkg::*;
#(
  parameter  int unsigned StructBits  = 64,
  parameter  int unsigned Depth       = FifoBeats,
  localparam int unsigned StructBeats = (StructBits + LineBits - 1) / LineBits
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,

  input  logic                  beat_valid_i,
  output logic                  beat_ready_o,
  input  logic [LineBits-1:0]   beat_data_i,

  output logic                  instr_valid_o,
  input  logic                  instr_take_i,
  output logic [StructBits-1:0] instr_o,

  output logic                  payload_valid_o,
  input  logic                  payload_ready_i,
  output logic [LineBits-1:0]   payload_data_o,

  output logic                  idle_o  // nothing inside
);

  localparam int unsigned IdxW = StructBeats > 1 ? $clog2(StructBeats) : 1;

  if (StructBits < $bits(header_t)) begin : gen_struct_check
    $error("an instruction has a header of %0d bits, StructBits is %0d", $bits(header_t),
           StructBits);
  end

  typedef enum logic [1:0] {
    Collect,
    Offer,
    Payload
  } state_e;

  state_e                               state_q;
  logic [IdxW-1:0]                      index_q;  // beat of the register that comes next
  logic [15:0]                          left_q;   // payload beats to come
  // The last beat may be wider than what is left of the structure; of the header only the length
  // counts here.
  // verilator lint_off UNUSEDSIGNAL
  logic [StructBeats-1:0][LineBits-1:0] fields_q;
  header_t                              header;
  // verilator lint_on UNUSEDSIGNAL
  logic                                 fifo_valid, fifo_ready;

  fifo #(
    .Width(LineBits),
    .Depth(Depth)
  ) u_fifo (
    .clk_i,
    .rst_ni,
    .in_valid_i (beat_valid_i),
    .in_ready_o (beat_ready_o),
    .in_data_i  (beat_data_i),
    .out_valid_o(fifo_valid),
    .out_ready_i(fifo_ready),
    .out_data_o (payload_data_o)
  );

  assign instr_o = StructBits'(fields_q);
  assign header = instr_o[$bits(header_t)-1:0];
  assign instr_valid_o = state_q == Offer;
  assign payload_valid_o = state_q == Payload && fifo_valid;
  assign fifo_ready = state_q == Collect || (state_q == Payload && payload_ready_i);
  assign idle_o = state_q == Collect && index_q == '0 && !fifo_valid;

  always_ff @(posedge clk_i) begin
    if (state_q == Collect && fifo_valid) fields_q[index_q] <= payload_data_o;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Collect;
      index_q <= '0;
      left_q <= '0;
    end else begin
      unique case (state_q)
        Collect: begin
          if (fifo_valid) begin
            index_q <= index_q + IdxW'(1);
            if (index_q == IdxW'(StructBeats - 1)) begin
              index_q <= '0;
              state_q <= Offer;
            end
          end
        end
        Offer: begin
          left_q <= header.beats - 16'(StructBeats);
          if (instr_take_i) begin
            state_q <= header.beats > 16'(StructBeats) ? Payload : Collect;
          end
        end
        Payload: begin
          if (fifo_valid && payload_ready_i) begin
            left_q <= left_q - 16'd1;
            if (left_q == 16'd1) state_q <= Collect;
          end
        end
        default: state_q <= Collect;
      endcase
    end
  end

`ifndef SYNTHESIS
  instruction_holds: assert property (@(posedge clk_i) disable iff (!rst_ni)
    instr_valid_o && !instr_take_i |=> instr_valid_o && $stable(instr_o))
    else $error("instr_queue: an instruction that was offered is gone");
  taken_when_offered: assert property (@(posedge clk_i) disable iff (!rst_ni)
    instr_take_i |-> instr_valid_o)
    else $error("instr_queue: an instruction is taken that is not offered");
`endif

endmodule
