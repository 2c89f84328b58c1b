// A job from its start to its end, whatever the program does.
//
// A job ends in three ways: quiet_i for three cycles (the program has ended and nothing is under
// way), an error, or stop_i from the host. The first error of a job counts; it stands in error_o,
// with cause_o, until the next start. Then
//   Stop   keeps from the bus what is new, until nothing stands there that was offered (held_i);
//   Flush  holds the machine in reset until the bus has answered everything (drained_i).
// done_o comes in the cycle after. A bus that does not answer for 65,536 cycles does not delay
// done_o: error_o[8] is set, and idle_o stays low until it has answered after all.
//
// limits: job_limit_i cycles from the start on, progress_limit_i cycles without progress_i, each 0
// for 2^32; both must hold during a job. An error in cycle c is in force (stop_o) from c + 1.

module job_control
  import df_pkg::*;
(
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                start_i,
  input  logic                quiet_i,
  input  logic                stop_i,           // the host's
  output logic                done_o,           // one cycle
  output logic                idle_o,
  output logic                running_o,
  output logic                stop_o,           // nothing new goes to the bus
  output logic                flush_o,          // the machine is in reset
  input  logic                held_i,
  input  logic                drained_i,

  input  logic [31:0]         job_limit_i,
  input  logic [31:0]         progress_limit_i,
  input  logic                progress_i,

  input  job_error_e          fetch_error_i,
  input  logic [3:0]          illegal_i,        // by unit: what was offered a cycle ago
  input  logic [3:0][15:0]    layer_i,
  input  logic                outside_read_i,
  input  logic [AxiAddrW-1:0] read_addr_i,
  input  logic                outside_write_i,
  input  logic [AxiAddrW-1:0] write_addr_i,
  input  logic                read_error_i,
  input  logic                write_error_i,

  output logic [31:0]         error_o,
  output logic [31:0]         cause_o
);

  typedef enum logic [1:0] {
    Idle,
    Run,
    Stop,
    Flush
  } state_e;

  state_e      state_q;
  logic [2:0]  quiet_q;  // engines report idle a cycle or two before their neighbours wake up
  logic        told_q;   // done_o has come, the bus has not answered
  logic [31:0] cycles_q;           // this cycle included
  logic        job_over_q;         // cycles_q is job_limit_i
  // Cycles without progress, this one included: 1 when there was some in the last cycle, else
  // still_q. What shows progress comes late in a cycle.
  logic [31:0] still_q, still;
  logic        progress_q, still_over_q, still_over;  // _q: still_q is progress_limit_i
  logic        at_once;            // one cycle without progress is too many
  logic [31:0] cause_q, cause;
  logic [15:0] flush_q;
  job_error_e  error_q, error;
  logic        hung_q;

  assign running_o = state_q == Run;
  assign stop_o = state_q == Stop;
  assign flush_o = state_q == Flush;
  assign idle_o = state_q == Idle && drained_i;
  assign error_o = {23'b0, hung_q, error_q};
  assign cause_o = cause_q;

  assign at_once = progress_limit_i == 32'd1;
  assign still = progress_q ? 32'd1 : still_q;
  assign still_over = progress_q ? at_once : still_over_q;

  always_comb begin
    error = ErrorNone;
    cause = '0;
    if (read_error_i) error = ErrorReadResponse;
    else if (write_error_i) error = ErrorWriteResponse;
    else if (illegal_i != '0) begin
      error = ErrorField;
      for (int unsigned u = 4; u > 0; u--) begin
        if (illegal_i[u-1]) cause = {12'b0, 4'(u - 1), layer_i[u-1]};
      end
    end else if (outside_read_i) begin
      error = ErrorReadOutside;
      cause = 32'(read_addr_i);
    end else if (outside_write_i) begin
      error = ErrorWriteOutside;
      cause = 32'(write_addr_i);
    end else if (fetch_error_i != ErrorNone) error = fetch_error_i;
    else if (stop_i) error = ErrorStopped;
    else if (job_over_q) error = ErrorJobLimit;
    else if (still_over) error = ErrorNoProgress;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      quiet_q <= '0;
      told_q <= 1'b0;
      done_o <= 1'b0;
      cycles_q <= '0;
      job_over_q <= 1'b0;
      progress_q <= 1'b0;
      still_q <= '0;
      still_over_q <= 1'b0;
      flush_q <= '0;
      error_q <= ErrorNone;
      hung_q <= 1'b0;
      cause_q <= '0;
    end else begin
      done_o <= 1'b0;
      unique case (state_q)
        Run: begin
          cycles_q <= cycles_q + 32'd1;
          job_over_q <= cycles_q + 32'd1 == job_limit_i;
          progress_q <= progress_i;
          still_q <= still + 32'd1;
          still_over_q <= still + 32'd1 == progress_limit_i;
          quiet_q <= {quiet_q[1:0], quiet_i};
          if (error != ErrorNone) begin
            state_q <= Stop;
            error_q <= error;
            cause_q <= cause;
          end else if (&quiet_q) begin
            state_q <= Idle;
            done_o <= 1'b1;
          end
        end
        Stop, Flush: begin
          if (state_q == Stop && !held_i) state_q <= Flush;
          if (flush_q != '1) flush_q <= flush_q + 16'd1;
          if (state_q == Flush && drained_i) begin
            state_q <= Idle;
            done_o <= !told_q;
          end else if (flush_q == '1 && !told_q) begin
            told_q <= 1'b1;
            hung_q <= 1'b1;
            done_o <= 1'b1;
          end
        end
        default: begin  // Idle
          if (start_i) begin
            state_q <= Run;
            quiet_q <= '0;
            told_q <= 1'b0;
            cycles_q <= 32'd1;
            job_over_q <= job_limit_i == 32'd1;
            progress_q <= 1'b1;
            flush_q <= '0;
            error_q <= ErrorNone;
            hung_q <= 1'b0;
            cause_q <= '0;
          end
        end
      endcase
    end
  end

endmodule
