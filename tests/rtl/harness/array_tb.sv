// Runs array instructions on a filled activation memory and weight ring; prints every accumulator
// block as the array completes it, then frees it.

module array_tb
  import df_pkg::*;
#(
  parameter int unsigned Instructions = 1
);
  logic clk;
  logic rst_n = 1'b0;
  initial begin
    clk = 1'b0;
    forever #1 clk = !clk;
  end

  string act_file, w_file, instr_file, out_file;
  int    fd;
  int    w_lines, lines_written;
  logic [LineBits-1:0]       act_image [ActLines];
  logic [LineBits-1:0]       ring      [WbufLines];
  logic [$bits(array_t)-1:0] program_q [Instructions];

  localparam int unsigned AccAddrW = $clog2(AccLines);

  logic [15:0][23:0] counters;
  logic [31:0]       taken, cycles;
  logic              loading;

  logic [FeedPorts-1:0]               feed_valid;
  logic [FeedPorts-1:0][23:0]         feed_addr;
  logic [FeedPorts-1:0][LineBits-1:0] feed_data;
  logic [1:0]                         valid, ready;
  logic [1:0][23:0]                   addr;
  logic [1:0][LineBits-1:0]           data, rdata;
  logic [1:0][LineBytes-1:0]          mask;
  logic                               stationary_valid, refuse;
  logic                               instr_valid, take, idle;
  logic [23:0]                        w_freed, w_addr, fill;
  logic                               w_rd;
  logic [LineBits-1:0]                w_data;
  logic                               acc_rd, acc_rd_half, acc_we, acc_wr_half;
  logic [AccAddrW-1:0]                acc_rd_addr, acc_wr_addr;
  logic [Cols*32-1:0]                 acc_data, acc_wr_data, unused_vector;
  logic                               block_done, instr_done, tile_released, second_released;
  array_pkg::macs_t                   macs;
  logic [15:0]                        done_layer;
  logic                               busy, stall_tile, stall_acc, stall_weights;
  longint                             mac_total;

  logic unused;
  assign unused = ^{ready[0], rdata[0], w_addr, done_layer, busy, stall_tile, stall_acc,
                    stall_weights};

  act_mem #(.Clients(2), .Writers(1)) u_act (
    .clk_i(clk), .rst_ni(rst_n), .feed_valid_i(feed_valid), .feed_addr_i(feed_addr),
    .feed_data_o(feed_data), .valid_i(valid), .addr_i(addr), .data_i(data),
    .mask_i(mask), .ready_o(ready), .data_o(rdata)
  );
  assign valid = {stationary_valid && !refuse, loading};
  assign data[0] = act_image[fill < 24'(ActLines) ? fill : 0];
  assign addr[0] = fill * 24'(LineBytes);
  assign mask = '1;
  assign data[1] = '0;

  array_engine u_array (
    .clk_i(clk), .rst_ni(rst_n), .instr_valid_i(instr_valid), .instr_i(program_q[taken < Instructions ? taken : 0]),
    .instr_take_o(take), .counters_i(counters), .feed_valid_o(feed_valid), .feed_addr_o(feed_addr),
    .feed_data_i(feed_data), .act_valid_o(stationary_valid), .act_addr_o(addr[1]),
    .act_ready_i(ready[1]), .act_data_i(rdata[1]), .w_written_i(24'(lines_written)), .w_freed_o(w_freed),
    .w_rd_o(w_rd), .w_addr_o(w_addr), .w_data_i(w_data), .acc_rd_o(acc_rd),
    .acc_rd_half_o(acc_rd_half), .acc_rd_addr_o(acc_rd_addr), .acc_data_i(acc_data),
    .acc_we_o(acc_we), .acc_wr_half_o(acc_wr_half), .acc_wr_addr_o(acc_wr_addr),
    .acc_wr_data_o(acc_wr_data), .tile_released_o(tile_released),
    .second_released_o(second_released), .block_done_o(block_done), .instr_done_o(instr_done),
    .done_layer_o(done_layer), .idle_o(idle), .busy_o(busy), .macs_o(macs),
    .stall_tile_o(stall_tile), .stall_acc_o(stall_acc), .stall_weights_o(stall_weights)
  );
  acc_mem u_acc (
    .clk_i(clk), .array_rd_i(acc_rd), .array_rd_half_i(acc_rd_half),
    .array_rd_addr_i(acc_rd_addr), .array_data_o(acc_data), .array_we_i(acc_we),
    .array_wr_half_i(acc_wr_half), .array_wr_addr_i(acc_wr_addr), .array_wr_data_i(acc_wr_data),
    .vector_rd_i(1'b0), .vector_half_i(1'b0), .vector_addr_i('0), .vector_data_o(unused_vector)
  );
  assign instr_valid = !loading && rst_n && taken < Instructions;

  always_ff @(posedge clk) begin
    refuse <= $urandom_range(3) == 0;
    if (w_rd) w_data <= ring[$clog2(WbufLines)'(w_addr)];
  end

  int last_line;
  int done_count;
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      counters <= '0; taken <= 0; cycles <= 0; mac_total <= 0; lines_written <= 0; fill <= '0;
      loading <= 1'b1; done_count <= 0;
    end else begin
      if (loading) begin
        fill <= fill + 1'b1;
        if (fill == 24'(ActLines - 1)) loading <= 1'b0;
      end else begin
        cycles <= cycles + 1;
        if (lines_written < w_lines && lines_written - 32'(w_freed) < WbufLines)
          lines_written <= lines_written + 1;
      end
      if (take) taken <= taken + 1;
      mac_total <= mac_total + 64'(macs);
      if (acc_we) last_line <= int'(acc_wr_addr);
      if (tile_released) counters[EventArrayI] <= counters[EventArrayI] + 1;
      if (second_released) counters[EventArrayR] <= counters[EventArrayR] + 1;
      if (instr_done) begin
        counters[EventArrayDone] <= counters[EventArrayDone] + 1;
        done_count <= done_count + 1;
      end
      if (block_done) begin
        counters[EventVectorAcc] <= counters[EventVectorAcc] + 1;
        $fwrite(fd, "block %0d\n", last_line + 1);
        for (int l = 0; l <= last_line; l++) begin
          if (counters[EventVectorAcc][0]) $fwrite(fd, "%h\n", u_acc.gen_half[1].mem[l]);
          else $fwrite(fd, "%h\n", u_acc.gen_half[0].mem[l]);
        end
      end
      if (done_count == Instructions && idle) begin
        $fwrite(fd, "cycles %0d macs %0d freed %0d released %0d %0d\n", cycles, mac_total, w_freed,
                counters[EventArrayI], counters[EventArrayR]);
        $fclose(fd);
        $finish;
      end
      if (cycles > 2000000) begin
        $fwrite(fd, "timeout\n");
        $finish;
      end
    end
  end

  initial begin
    void'($value$plusargs("act=%s", act_file));
    void'($value$plusargs("weights=%s", w_file));
    void'($value$plusargs("instr=%s", instr_file));
    void'($value$plusargs("out=%s", out_file));
    void'($value$plusargs("w_lines=%d", w_lines));
    $readmemh(act_file, act_image);
    $readmemh(w_file, ring);
    $readmemh(instr_file, program_q);
    fd = $fopen(out_file, "w");
    repeat (4) @(posedge clk);
    rst_n = 1'b1;
  end
endmodule
