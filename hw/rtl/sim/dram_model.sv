// DRAM behind an AXI4 slave port, for simulation only.
//
// Timing, with all stalls off. "Cycle t" ends with clock edge t; a handshake in cycle t is valid
// and ready both high at edge t.
//   * AR handshake in cycle t: the first R beat is valid from cycle t + READ_LATENCY, then one beat
//     a cycle, bursts in order, back to back when the latency of the next one has passed.
//   * AR is ready while fewer than MAX_READS bursts are outstanding; a burst is outstanding from
//     the cycle after its AR handshake up to and including the cycle of its RLAST handshake.
//   * W is ready for every cycle in which a write address has arrived, at the earliest with its AW
//     handshake. WLAST handshake in cycle t: B is valid from cycle t + WRITE_LATENCY.
//   * AW is ready while fewer than MAX_WRITES bursts wait for their B handshake.
//   * Reads and writes do not disturb each other.
// With BANKS above 0 the memory is a DRAM with rows and refresh: `dram_timing`.
// +stall=P (per mille) refuses each channel with probability P in each cycle, drawn apart for the
// five channels from +seed=N: AR, AW and W ready stay low, a new R or B valid is put off (once
// valid it stays).
//
// Contents: +image0=FILE +addr0=HEX .. +image3 +addr3: raw bytes, address a multiple of 8. All
// other memory is zero. A pulse on dump_i appends the bytes [dump_lo_i, dump_hi_i), multiples of 8,
// to the file +dump_file=F.
//
// Checked and counted in protocol_errors_o: valid and payload hold until ready; INCR bursts of the
// full width, inside 4 KiB and inside the memory; WLAST on the last beat only. hazards_o counts
// what AXI leaves undefined: a read that is accepted while an overlapping write has no response
// yet, or a write while an overlapping read is under way. The first few of each are printed.

module dram_model #(
  parameter int unsigned DATA_BYTES = 16,      // a power of two, at least 4
  parameter int unsigned ADDR_WIDTH = 64,
  parameter int unsigned ID_WIDTH = 1,
  parameter int unsigned MEM_BYTES_LOG2 = 26,
  parameter int unsigned READ_LATENCY = 64,    // at least 2
  parameter int unsigned WRITE_LATENCY = 8,    // at least 2
  parameter int unsigned MAX_READS = 16,       // a power of two, at least 2
  parameter int unsigned MAX_WRITES = 16,      // a power of two, at least 2
  parameter int unsigned BANKS = 0,            // 0: no rows, no refresh; bursts at once
  parameter int unsigned ROW_BYTES = 2048,
  parameter int unsigned BURST_BYTES = 16,
  parameter int unsigned CYCLES = 1,
  parameter int unsigned BYTES_MOVED = 16,
  parameter int unsigned ACTIVATE = 0,
  parameter int unsigned PRECHARGE = 0,
  parameter int unsigned WRITE_RECOVERY = 0,
  parameter int unsigned TO_READ = 0,
  parameter int unsigned TO_WRITE = 0,
  parameter int unsigned REFRESH = 0,
  parameter int unsigned REFRESH_INTERVAL = 1,
  localparam int unsigned DATA_WIDTH = 8 * DATA_BYTES
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  master_rst_ni,  // the other side is in reset: it may take back what
                                                // it offered
  input  logic                  load_i,         // read the images again

  input  logic                  ar_valid_i,
  output logic                  ar_ready_o,
  input  logic [ID_WIDTH-1:0]   ar_id_i,
  input  logic [ADDR_WIDTH-1:0] ar_addr_i,
  input  logic [7:0]            ar_len_i,
  input  logic [2:0]            ar_size_i,
  input  logic [1:0]            ar_burst_i,

  output logic                  r_valid_o,
  input  logic                  r_ready_i,
  output logic [ID_WIDTH-1:0]   r_id_o,
  output logic [DATA_WIDTH-1:0] r_data_o,
  output logic [1:0]            r_resp_o,
  output logic                  r_last_o,

  input  logic                  aw_valid_i,
  output logic                  aw_ready_o,
  input  logic [ID_WIDTH-1:0]   aw_id_i,
  input  logic [ADDR_WIDTH-1:0] aw_addr_i,
  input  logic [7:0]            aw_len_i,
  input  logic [2:0]            aw_size_i,
  input  logic [1:0]            aw_burst_i,

  input  logic                  w_valid_i,
  output logic                  w_ready_o,
  input  logic [DATA_WIDTH-1:0] w_data_i,
  input  logic [DATA_BYTES-1:0] w_strb_i,
  input  logic                  w_last_i,

  output logic                  b_valid_o,
  input  logic                  b_ready_i,
  output logic [ID_WIDTH-1:0]   b_id_o,
  output logic [1:0]            b_resp_o,

  input  logic                  dump_i,
  input  logic [63:0]           dump_lo_i,
  input  logic [63:0]           dump_hi_i,

  // Counted at the handshakes since reset.
  output logic [63:0]           read_beats_o [2**ID_WIDTH],  // for each ARID
  output logic [63:0]           write_beats_o,
  output logic [63:0]           write_bytes_o,               // bytes with their strobe set
  output logic [31:0]           protocol_errors_o,
  output logic [31:0]           hazards_o
);

  localparam int unsigned MemWords = 2 ** (MEM_BYTES_LOG2 - 3);
  localparam int unsigned BeatWords = DATA_BYTES > 8 ? DATA_BYTES / 8 : 1;
  localparam int unsigned PartBytes = DATA_BYTES > 8 ? 8 : DATA_BYTES;  // of a word, in a beat
  localparam int unsigned BeatShift = $clog2(DATA_BYTES);
  localparam int unsigned ReadIndex = $clog2(MAX_READS);
  localparam int unsigned WriteIndex = $clog2(MAX_WRITES);
  localparam int unsigned NumImages = 4;
  localparam int unsigned MaxMessages = 10;

  typedef logic [MEM_BYTES_LOG2-BeatShift-1:0] line_t;  // address in units of one beat
  typedef logic [63:0] cycle_t;

  if (DATA_BYTES < 4 || 2 ** BeatShift != DATA_BYTES || DATA_BYTES > 128) begin : gen_bytes_check
    $error("DATA_BYTES is %0d, must be a power of two from 4 to 128", DATA_BYTES);
  end
  if (MAX_READS < 2 || 2 ** ReadIndex != MAX_READS) begin : gen_reads_check
    $error("MAX_READS is %0d, must be a power of two, at least 2", MAX_READS);
  end
  if (MAX_WRITES < 2 || 2 ** WriteIndex != MAX_WRITES) begin : gen_writes_check
    $error("MAX_WRITES is %0d, must be a power of two, at least 2", MAX_WRITES);
  end
  if (READ_LATENCY < 2 || WRITE_LATENCY < 2) begin : gen_latency_check
    $error("latencies are %0d and %0d, must be at least 2", READ_LATENCY, WRITE_LATENCY);
  end
  if (MEM_BYTES_LOG2 < 12 || MEM_BYTES_LOG2 > 33 || MEM_BYTES_LOG2 > ADDR_WIDTH)
  begin : gen_mem_check
    $error("MEM_BYTES_LOG2 is %0d, must be 12 to 33, at most ADDR_WIDTH", MEM_BYTES_LOG2);
  end

  // Words hold eight bytes in the order in which $fread puts them: the lowest address on top.
  logic [63:0] mem [MemWords];

  function automatic logic [63:0] swap_bytes(input logic [63:0] word);
    return {word[7:0], word[15:8], word[23:16], word[31:24],
            word[39:32], word[47:40], word[55:48], word[63:56]};
  endfunction

  function automatic logic [63:0] byte_mask(input logic [7:0] strobes);
    return {{8{strobes[7]}}, {8{strobes[6]}}, {8{strobes[5]}}, {8{strobes[4]}},
            {8{strobes[3]}}, {8{strobes[2]}}, {8{strobes[1]}}, {8{strobes[0]}}};
  endfunction

  // Marsaglia's xorshift: the same sequence with every simulator.
  function automatic logic [31:0] next_random(input logic [31:0] state);
    logic [31:0] x;
    x = state ^ (state << 13);
    x = x ^ (x >> 17);
    return x ^ (x << 5);
  endfunction

  function automatic line_t line_of(input logic [ADDR_WIDTH-1:0] address);
    return line_t'(address >> BeatShift);
  endfunction

  // A message for a burst that the model cannot serve, empty for a legal one.
  function automatic string burst_error(input logic [ADDR_WIDTH-1:0] address,
                                        input logic [7:0] length, input logic [2:0] size,
                                        input logic [1:0] burst);
    logic [ADDR_WIDTH-1:0] aligned;
    logic [ADDR_WIDTH:0] last;
    aligned = address >> BeatShift << BeatShift;
    last = {1'b0, aligned} + ((ADDR_WIDTH + 1)'(length) << BeatShift);
    if (burst != 2'b01) return "is not INCR";
    if (int'(size) != $clog2(DATA_BYTES)) return "is not as wide as the port";
    if (last[ADDR_WIDTH:12] != {1'b0, address[ADDR_WIDTH-1:12]}) return "crosses 4 KiB";
    if (|(last >> MEM_BYTES_LOG2)) return "lies outside the memory";
    return "";
  endfunction

  // Index in mem of 64-bit word i of a beat.
  function automatic logic [MEM_BYTES_LOG2-4:0] word_of(input line_t line,
                                                        input logic [MEM_BYTES_LOG2-4:0] i);
    if (BeatShift < 3) return (MEM_BYTES_LOG2 - 3)'(line >> (3 - BeatShift));
    return (MEM_BYTES_LOG2 - 3)'(line) * (MEM_BYTES_LOG2 - 3)'(BeatWords) + i;
  endfunction

  // Bits of the word below a beat's part of it.
  function automatic logic [5:0] shift_of(input line_t line);
    return BeatShift < 3 ? 6'(line << (BeatShift + 3)) : 6'd0;
  endfunction

  // Contents.

  int unsigned stall_per_mille, seed;
  string dump_path;
  int dump_file;

  initial begin
    automatic string path, pattern;
    automatic logic [63:0] address;
    automatic int file, length, got;
    if (!$value$plusargs("stall=%d", stall_per_mille)) stall_per_mille = 0;
    if (!$value$plusargs("seed=%d", seed)) seed = 1;
    if (!$value$plusargs("dump_file=%s", dump_path)) dump_path = "";
    dump_file = 0;
    for (int i = 0; i < int'(NumImages); i++) begin
      pattern = $sformatf("image%0d=%%s", i);
      if ($value$plusargs(pattern, path)) begin
        pattern = $sformatf("addr%0d=%%h", i);
        if (!$value$plusargs(pattern, address)) address = '0;
        file = $fopen(path, "rb");
        if (file == 0) $fatal(1, "dram_model: cannot open %s", path);
        void'($fseek(file, 0, 2));
        length = $ftell(file);
        void'($rewind(file));
        if (address[2:0] != '0 || address > (64'd1 << MEM_BYTES_LOG2) - 64'(length)
            || 64'(length) > (64'd1 << MEM_BYTES_LOG2)) begin
          $fatal(1, "dram_model: %s (%0d bytes at %0h) is not at a multiple of 8 in %0d bytes",
                 path, length, address, 64'd1 << MEM_BYTES_LOG2);
        end
        got = length == 0 ? 0 : $fread(mem, file, int'(address >> 3), (length + 7) / 8);
        if (got != length) $fatal(1, "dram_model: read %0d of %0d bytes of %s", got, length, path);
        $fclose(file);
      end
    end
  end

  // As above, word by word: these assignments share the memory with those of the bus.
  always_ff @(posedge clk_i) begin
    if (load_i) begin
      automatic string path, pattern;
      automatic logic [63:0] address, word;
      automatic int file;
      for (int i = 0; i < int'(NumImages); i++) begin
        pattern = $sformatf("image%0d=%%s", i);
        if ($value$plusargs(pattern, path)) begin
          pattern = $sformatf("addr%0d=%%h", i);
          if (!$value$plusargs(pattern, address)) address = '0;
          file = $fopen(path, "rb");
          if (file == 0) $fatal(1, "dram_model: cannot open %s", path);
          while ($fread(word, file) == 8) begin
            mem[address[MEM_BYTES_LOG2-1:3]] <= word;
            address = address + 64'd8;
          end
          $fclose(file);
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (dump_i) begin
      automatic int file = dump_file != 0 ? dump_file : $fopen(dump_path, "wb");
      if (file == 0) $fatal(1, "dram_model: cannot open +dump_file=%s", dump_path);
      if (dump_lo_i[2:0] != '0 || dump_hi_i[2:0] != '0
          || dump_hi_i > 64'd1 << MEM_BYTES_LOG2) begin
        $fatal(1, "dram_model: cannot dump [%0h, %0h)", dump_lo_i, dump_hi_i);
      end
      for (logic [63:0] i = dump_lo_i >> 3; i < dump_hi_i >> 3; i++) begin
        $fwrite(file, "%u", swap_bytes(mem[i[MEM_BYTES_LOG2-4:0]]));
      end
      $fflush(file);
      dump_file <= file;
    end
  end

  // Stalls: bit n of stall_q refuses channel n in this cycle, AR, R, AW, W, B from bit 0.

  cycle_t      cycle_q;
  logic [4:0]  stall_q;
  logic [31:0] random_q [5];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      cycle_q <= '0;
      stall_q <= '0;
      for (int n = 0; n < 5; n++) begin
        // Any non-zero start; the odd multiplier spreads neighbouring seeds.
        random_q[n] <= (seed * 32'd2654435761 + 32'(n + 1) * 32'd40503) | 32'd1;
      end
    end else begin
      cycle_q <= cycle_q + 64'd1;
      if (stall_per_mille != 0) begin
        for (int n = 0; n < 5; n++) begin
          random_q[n] <= next_random(random_q[n]);
          stall_q[n] <= (random_q[n] >> 8) % 32'd1000 < stall_per_mille;
        end
      end
    end
  end

  // Read bursts: a ring. An entry is written at the AR handshake, presented, and freed at RLAST.

  line_t                read_line_q [MAX_READS];
  logic [7:0]           read_len_q  [MAX_READS];
  logic [ID_WIDTH-1:0]  read_id_q   [MAX_READS];
  cycle_t               read_due    [MAX_READS];
  logic [ReadIndex:0]   read_in_q, read_next_q, read_out_q;  // accepted, presented, retired
  logic [7:0]           read_beat_q;

  logic                 ar_take, r_take, r_free;
  logic [ReadIndex-1:0] read_head;

  assign ar_ready_o = read_in_q - read_out_q != (ReadIndex + 1)'(MAX_READS) && !stall_q[0];
  assign ar_take = ar_valid_i && ar_ready_o;
  assign r_take = r_valid_o && r_ready_i;
  assign r_free = !r_valid_o || r_ready_i;
  assign r_resp_o = 2'b00;
  assign read_head = read_next_q[ReadIndex-1:0];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      read_in_q <= '0;
      read_next_q <= '0;
      read_out_q <= '0;
      read_beat_q <= '0;
      r_valid_o <= 1'b0;
      for (int n = 0; n < 2 ** ID_WIDTH; n++) read_beats_o[n] <= '0;
    end else begin
      if (ar_take) begin
        read_line_q[read_in_q[ReadIndex-1:0]] <= line_of(ar_addr_i);
        read_len_q[read_in_q[ReadIndex-1:0]] <= ar_len_i;
        read_id_q[read_in_q[ReadIndex-1:0]] <= ar_id_i;
        read_in_q <= read_in_q + 1'b1;
      end
      if (r_take) begin
        read_beats_o[r_id_o] <= read_beats_o[r_id_o] + 64'd1;
        if (r_last_o) read_out_q <= read_out_q + 1'b1;
      end
      if (r_free) begin
        r_valid_o <= 1'b0;
        if (read_next_q != read_in_q && read_due[read_head] <= cycle_q + 64'd1
            && !stall_q[1]) begin
          automatic line_t line = read_line_q[read_head] + line_t'(read_beat_q);
          automatic logic last = read_beat_q == read_len_q[read_head];
          for (int i = 0; i < int'(BeatWords); i++) begin
            automatic logic [63:0] word = swap_bytes(mem[word_of(line, (MEM_BYTES_LOG2 - 3)'(i))]);
            r_data_o[8*PartBytes*i+:8*PartBytes] <= (8 * PartBytes)'(word >> shift_of(line));
          end
          r_valid_o <= 1'b1;
          r_id_o <= read_id_q[read_head];
          r_last_o <= last;
          read_beat_q <= last ? '0 : read_beat_q + 8'd1;
          if (last) read_next_q <= read_next_q + 1'b1;
        end
      end
    end
  end

  // Write bursts: a ring. An entry is written at the AW handshake, has all its data at WLAST, is
  // answered and freed at the B handshake.

  line_t                write_line_q [MAX_WRITES];
  logic [7:0]           write_len_q  [MAX_WRITES];
  logic [ID_WIDTH-1:0]  write_id_q   [MAX_WRITES];
  cycle_t               write_due    [MAX_WRITES];
  logic [WriteIndex:0]  write_in_q, write_data_q, write_next_q, write_out_q;
  logic [7:0]           write_beat_q;

  logic                  aw_take, w_take, w_end, b_take, b_free, write_known;
  logic [WriteIndex-1:0] write_head, write_answer;
  line_t                 write_line;
  logic [7:0]            write_len;

  assign aw_ready_o = write_in_q - write_out_q != (WriteIndex + 1)'(MAX_WRITES) && !stall_q[2];
  assign aw_take = aw_valid_i && aw_ready_o;
  assign write_known = write_data_q != write_in_q;
  assign w_ready_o = (write_known || aw_take) && !stall_q[3];
  assign w_take = w_valid_i && w_ready_o;
  assign write_head = write_data_q[WriteIndex-1:0];
  assign write_line = write_known ? write_line_q[write_head] : line_of(aw_addr_i);
  assign write_len = write_known ? write_len_q[write_head] : aw_len_i;
  assign w_end = w_take && write_beat_q == write_len;
  assign b_take = b_valid_o && b_ready_i;
  assign b_free = !b_valid_o || b_ready_i;
  assign b_resp_o = 2'b00;
  assign write_answer = write_next_q[WriteIndex-1:0];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_in_q <= '0;
      write_data_q <= '0;
      write_next_q <= '0;
      write_out_q <= '0;
      write_beat_q <= '0;
      b_valid_o <= 1'b0;
      write_beats_o <= '0;
      write_bytes_o <= '0;
    end else begin
      if (aw_take) begin
        write_line_q[write_in_q[WriteIndex-1:0]] <= line_of(aw_addr_i);
        write_len_q[write_in_q[WriteIndex-1:0]] <= aw_len_i;
        write_id_q[write_in_q[WriteIndex-1:0]] <= aw_id_i;
        write_in_q <= write_in_q + 1'b1;
      end
      if (w_take) begin
        automatic line_t line = write_line + line_t'(write_beat_q);
        for (int i = 0; i < int'(BeatWords); i++) begin
          automatic logic [MEM_BYTES_LOG2-4:0] word = word_of(line, (MEM_BYTES_LOG2 - 3)'(i));
          automatic logic [63:0] mask, data;
          mask = byte_mask(8'(w_strb_i[PartBytes*i+:PartBytes])) << shift_of(line);
          data = 64'(w_data_i[8*PartBytes*i+:8*PartBytes]) << shift_of(line);
          mem[word] <= (mem[word] & ~swap_bytes(mask)) | swap_bytes(data & mask);
        end
        write_beats_o <= write_beats_o + 64'd1;
        write_bytes_o <= write_bytes_o + 64'($countones(w_strb_i));
        write_beat_q <= w_end ? '0 : write_beat_q + 8'd1;
      end
      if (w_end) begin
        write_data_q <= write_data_q + 1'b1;
      end
      if (b_take) write_out_q <= write_out_q + 1'b1;
      if (b_free) begin
        b_valid_o <= 1'b0;
        if (write_next_q != write_data_q && write_due[write_answer] <= cycle_q + 64'd1
            && !stall_q[4]) begin
          b_valid_o <= 1'b1;
          b_id_o <= write_id_q[write_answer];
          write_next_q <= write_next_q + 1'b1;
        end
      end
    end
  end

  // When the answers are due.

  dram_timing #(
    .BEAT_BYTES      (DATA_BYTES),
    .READ_LATENCY    (READ_LATENCY),
    .WRITE_LATENCY   (WRITE_LATENCY),
    .MAX_READS       (MAX_READS),
    .MAX_WRITES      (MAX_WRITES),
    .BANKS           (BANKS),
    .ROW_BYTES       (ROW_BYTES),
    .BURST_BYTES     (BURST_BYTES),
    .CYCLES          (CYCLES),
    .BYTES_MOVED     (BYTES_MOVED),
    .ACTIVATE        (ACTIVATE),
    .PRECHARGE       (PRECHARGE),
    .WRITE_RECOVERY  (WRITE_RECOVERY),
    .TO_READ         (TO_READ),
    .TO_WRITE        (TO_WRITE),
    .REFRESH         (REFRESH),
    .REFRESH_INTERVAL(REFRESH_INTERVAL)
  ) u_timing (
    .clk_i,
    .rst_ni,
    .cycle_i        (cycle_q),
    .read_i         (ar_take),
    .read_entry_i   (read_in_q[ReadIndex-1:0]),
    .read_address_i (64'(line_of(ar_addr_i)) << BeatShift),
    .read_length_i  (ar_len_i),
    .write_i        (w_end),
    .write_entry_i  (write_head),
    .write_address_i(64'(write_line) << BeatShift),
    .write_length_i (write_len),
    .read_due_o     (read_due),
    .write_due_o    (write_due)
  );

  // Rules of AXI.

  localparam int unsigned AddressPayload = ID_WIDTH + ADDR_WIDTH + 13;

  logic                             ar_wait_q, aw_wait_q, w_wait_q;  // valid without ready
  logic [AddressPayload-1:0]        ar_payload, ar_payload_q, aw_payload, aw_payload_q;
  logic [DATA_WIDTH+DATA_BYTES:0]   w_payload, w_payload_q;
  int unsigned                      messages_q;

  assign ar_payload = {ar_id_i, ar_addr_i, ar_len_i, ar_size_i, ar_burst_i};
  assign aw_payload = {aw_id_i, aw_addr_i, aw_len_i, aw_size_i, aw_burst_i};
  assign w_payload = {w_data_i, w_strb_i, w_last_i};

  // True when a burst of `length` + 1 beats from `line` touches one of `other_length` + 1 beats.
  function automatic logic overlaps(input line_t line, input logic [7:0] length,
                                    input line_t other, input logic [7:0] other_length);
    return line <= other + line_t'(other_length) && other <= line + line_t'(length);
  endfunction

  always_ff @(posedge clk_i) begin
    ar_wait_q <= rst_ni && master_rst_ni && ar_valid_i && !ar_ready_o;
    aw_wait_q <= rst_ni && master_rst_ni && aw_valid_i && !aw_ready_o;
    w_wait_q <= rst_ni && master_rst_ni && w_valid_i && !w_ready_o;
    ar_payload_q <= ar_payload;
    aw_payload_q <= aw_payload;
    w_payload_q <= w_payload;
    if (!rst_ni) begin
      protocol_errors_o <= '0;
      hazards_o <= '0;
      messages_q <= 0;
    end else begin
      automatic int unsigned errors = 0;
      automatic int unsigned hazards = 0;
      automatic string message = "";
      automatic string problem;
      if (ar_wait_q && (!ar_valid_i || ar_payload != ar_payload_q)) begin
        errors++;
        message = "AR changed before ARREADY";
      end
      if (aw_wait_q && (!aw_valid_i || aw_payload != aw_payload_q)) begin
        errors++;
        message = "AW changed before AWREADY";
      end
      if (w_wait_q && (!w_valid_i || w_payload != w_payload_q)) begin
        errors++;
        message = "W changed before WREADY";
      end
      if (w_take && w_last_i != w_end) begin
        errors++;
        message = $sformatf("WLAST is %0b on beat %0d of %0d", w_last_i, write_beat_q,
                            32'(write_len) + 32'd1);
      end
      if (ar_take) begin
        problem = burst_error(ar_addr_i, ar_len_i, ar_size_i, ar_burst_i);
        if (problem != "") begin
          errors++;
          message = $sformatf("AR burst at %0h, length %0d, %s", ar_addr_i, ar_len_i, problem);
        end
        for (logic [WriteIndex:0] n = write_out_q; n != write_in_q; n++) begin
          if (overlaps(line_of(ar_addr_i), ar_len_i, write_line_q[n[WriteIndex-1:0]],
                       write_len_q[n[WriteIndex-1:0]])) begin
            hazards++;
            message = $sformatf("read at %0h before the response to a write there", ar_addr_i);
          end
        end
        if (aw_take && overlaps(line_of(ar_addr_i), ar_len_i, line_of(aw_addr_i), aw_len_i)) begin
          hazards++;
          message = $sformatf("read at %0h with a write there", ar_addr_i);
        end
      end
      if (aw_take) begin
        problem = burst_error(aw_addr_i, aw_len_i, aw_size_i, aw_burst_i);
        if (problem != "") begin
          errors++;
          message = $sformatf("AW burst at %0h, length %0d, %s", aw_addr_i, aw_len_i, problem);
        end
        for (logic [ReadIndex:0] n = read_out_q; n != read_in_q; n++) begin
          if (overlaps(line_of(aw_addr_i), aw_len_i, read_line_q[n[ReadIndex-1:0]],
                       read_len_q[n[ReadIndex-1:0]])) begin
            hazards++;
            message = $sformatf("write at %0h under a read there", aw_addr_i);
          end
        end
      end
      protocol_errors_o <= protocol_errors_o + errors;
      hazards_o <= hazards_o + hazards;
      if (errors + hazards != 0 && messages_q < MaxMessages) begin
        $display("dram_model: cycle %0d: %s", cycle_q, message);
        messages_q <= messages_q + 1;
      end
    end
  end

endmodule
