// Runs a binary file of operand records through one of the binary32 units, no host code per cycle.
//
// Plusargs: +unit=fma|from_int|to_int, +vectors=FILE, +results=FILE, +stall=1 (random enables).
// A record is four big-endian 32-bit words: fma a b c -, from_int x - - -, to_int x zero_point lo hi.
// A result is one little-endian 32-bit word.

module fp32_vectors_tb
  import fp32_pkg::*;
();

  logic         clk = 1'b0;
  logic         en = 1'b0;
  logic [127:0] record = '0;
  logic [127:0] next_record;
  logic         more;

  logic [31:0]  y_fma, y_from_int, y;
  logic         unused;
  assign unused = ^record[30:10];

  logic signed [9:0] y_to_int, y_to_int_q;

  always_ff @(posedge clk) if (en) y_to_int_q <= y_to_int;

  fp32_fma u_fma (
    .clk_i    (clk),
    .en_i     (en),
    .a_i      (record[127:96]),
    .b_i      (record[95:64]),
    .c_i      (record[63:32]),
    .product_i(record[31]),
    .y_o      (y_fma)
  );

  int_to_fp32 u_from_int (
    .clk_i(clk),
    .en_i (en),
    .x_i  (record[127:96]),
    .y_o  (y_from_int)
  );

  fp32_to_int u_to_int (
    .clk_i       (clk),
    .en_i        (en),
    .x_i         (record[127:96]),
    .zero_point_i(record[73:64]),
    .lo_i        (record[41:32]),
    .hi_i        (record[9:0]),
    .y_o         (y_to_int)
  );

  string unit, vectors_path, results_path;
  int unsigned latency, edges, records, random_stall;
  int vectors, results;

  initial begin
    if (!$value$plusargs("unit=%s", unit)) $fatal(1, "+unit is missing");
    if (!$value$plusargs("vectors=%s", vectors_path)) $fatal(1, "+vectors is missing");
    if (!$value$plusargs("results=%s", results_path)) $fatal(1, "+results is missing");
    if (!$value$plusargs("stall=%d", random_stall)) random_stall = 0;
    latency = unit == "fma" ? FmaLatency : unit == "from_int" ? FromIntLatency : ToIntLatency;
    vectors = $fopen(vectors_path, "rb");
    results = $fopen(results_path, "wb");
    if (vectors == 0 || results == 0) $fatal(1, "cannot open %s or %s", vectors_path, results_path);

    records = 0;
    edges = 0;
    more = $fread(next_record, vectors) == 16;
    while (more || edges < records + latency - 1) begin
      en = random_stall == 0 || $urandom_range(3) != 0;
      if (!en) begin
        record = {4{$urandom}};  // must be ignored
      end else if (more) begin
        records++;
        record = next_record;
        more = $fread(next_record, vectors) == 16;
      end
      #1 clk = 1'b1;
      #1 clk = 1'b0;
      if (en) begin
        edges++;
        y = unit == "fma" ? y_fma : unit == "from_int" ? y_from_int : 32'(y_to_int_q);
        if (edges >= latency) $fwrite(results, "%u", y);
      end
    end
    $fclose(results);
    $finish;
  end

endmodule
