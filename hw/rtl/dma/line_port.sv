// Between lines and the beats of a narrower AXI4 port: a line is BeatsPerLine beats, the lowest
// bytes first. A burst of n lines is one of n * BeatsPerLine beats, so the port's bursts are the
// machine's. One beat a line: wires.
//
// Reads: the beats of a line but the last are taken in the cycle in which they come and kept; with
// the last one the line is offered, without a register. A line's response is the worst of its
// beats'. Writes: a line is offered beat by beat and taken with its last beat; strobes are passed
// on, so a beat may have none.
//
// rst_ni is the bus's: what has come of a line is kept when the machine alone is reset.

module line_port
  import df_pkg::*;
(
  input  logic                 clk_i,
  input  logic                 rst_ni,

  // Lines.
  input  logic [7:0]           ar_len_i,
  output logic                 r_valid_o,
  input  logic                 r_ready_i,
  output logic [LineBits-1:0]  r_data_o,
  output logic [1:0]           r_resp_o,
  input  logic [7:0]           aw_len_i,
  input  logic                 w_valid_i,
  output logic                 w_ready_o,
  input  logic [LineBits-1:0]  w_data_i,
  input  logic [LineBytes-1:0] w_strb_i,
  input  logic                 w_last_i,

  // Beats. The other signals of the bus are the same on both sides.
  output logic [7:0]           port_ar_len_o,
  input  logic                 port_r_valid_i,
  output logic                 port_r_ready_o,
  input  logic [PortBits-1:0]  port_r_data_i,
  input  logic [1:0]           port_r_resp_i,
  output logic [7:0]           port_aw_len_o,
  output logic                 port_w_valid_o,
  input  logic                 port_w_ready_i,
  output logic [PortBits-1:0]  port_w_data_o,
  output logic [PortBytes-1:0] port_w_strb_o,
  output logic                 port_w_last_o
);

  if (MaxBurst * BeatsPerLine > 256) begin : gen_burst_check
    $error("a burst of %0d lines is more than 256 beats", MaxBurst);
  end

  if (BeatsPerLine == 1) begin : gen_wires
    assign port_ar_len_o = ar_len_i;
    assign r_valid_o = port_r_valid_i;
    assign port_r_ready_o = r_ready_i;
    assign r_data_o = port_r_data_i;
    assign r_resp_o = port_r_resp_i;
    assign port_aw_len_o = aw_len_i;
    assign port_w_valid_o = w_valid_i;
    assign w_ready_o = port_w_ready_i;
    assign port_w_data_o = w_data_i;
    assign port_w_strb_o = w_strb_i;
    assign port_w_last_o = w_last_i;

    logic unused;
    assign unused = ^{clk_i, rst_ni};
  end else begin : gen_parts
    localparam int unsigned PartW = $clog2(BeatsPerLine);
    localparam logic [PartW-1:0] LastPart = PartW'(BeatsPerLine - 1);

    // Of 2^n lines or fewer no bit of the product is lost; see the check above.
    assign port_ar_len_o = 8'({ar_len_i, LastPart});
    assign port_aw_len_o = 8'({aw_len_i, LastPart});

    // Reads.
    logic [PartW-1:0]                       r_part_q;
    logic [BeatsPerLine-2:0][PortBits-1:0]  r_kept_q;
    logic [1:0]                             r_resp_q;
    logic                                   r_whole, r_take;

    assign r_whole = r_part_q == LastPart;
    assign r_valid_o = port_r_valid_i && r_whole;
    assign port_r_ready_o = !r_whole || r_ready_i;
    assign r_take = port_r_valid_i && port_r_ready_o;
    assign r_data_o = {port_r_data_i, r_kept_q};
    assign r_resp_o = r_resp_q | port_r_resp_i;

    always_ff @(posedge clk_i) begin
      if (r_take && !r_whole) r_kept_q[r_part_q] <= port_r_data_i;
      if (!rst_ni) begin
        r_part_q <= '0;
        r_resp_q <= '0;
      end else if (r_take) begin
        r_part_q <= r_part_q + PartW'(1);
        r_resp_q <= r_whole ? '0 : r_resp_o;
      end
    end

    // Writes.
    logic [PartW-1:0] w_part_q;
    logic             w_whole;

    assign w_whole = w_part_q == LastPart;
    assign port_w_valid_o = w_valid_i;
    assign w_ready_o = port_w_ready_i && w_whole;
    assign port_w_data_o = w_data_i[w_part_q*PortBits +: PortBits];
    assign port_w_strb_o = w_strb_i[w_part_q*PortBytes +: PortBytes];
    assign port_w_last_o = w_last_i && w_whole;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) w_part_q <= '0;
      else if (port_w_valid_o && port_w_ready_i) w_part_q <= w_part_q + PartW'(1);
    end
  end

endmodule
