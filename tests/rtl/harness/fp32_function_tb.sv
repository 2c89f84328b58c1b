// Runs a binary file of records through the function stage, no host code per cycle.
//
// Plusargs: +vectors=FILE, +results=FILE, +stall=1 (random enables). A record is three big-endian
// 32-bit words: function, x, scale. A result is one little-endian 32-bit word.

module fp32_function_tb
  import fp32_function_pkg::*;
();

  logic        clk = 1'b0;
  logic        en = 1'b0;
  logic [95:0] record = '0;
  logic [95:0] next_record;
  logic        more;
  logic [31:0] y;
  logic        unused;
  assign unused = ^{record[95:67], record[31:10]};

  fp32_function u_dut (
    .clk_i     (clk),
    .en_i      (en),
    .function_i(record[66:64]),
    .x_i       (record[63:32]),
    .scale_i   (record[9:0]),
    .y_o       (y)
  );

  string vectors_path, results_path;
  int unsigned edges, records, random_stall;
  int vectors, results;

  initial begin
    if (!$value$plusargs("vectors=%s", vectors_path)) $fatal(1, "+vectors is missing");
    if (!$value$plusargs("results=%s", results_path)) $fatal(1, "+results is missing");
    if (!$value$plusargs("stall=%d", random_stall)) random_stall = 0;
    vectors = $fopen(vectors_path, "rb");
    results = $fopen(results_path, "wb");
    if (vectors == 0 || results == 0) $fatal(1, "cannot open %s or %s", vectors_path, results_path);

    records = 0;
    edges = 0;
    more = $fread(next_record, vectors) == 12;
    while (more || edges < records + FunctionLatency - 1) begin
      en = random_stall == 0 || $urandom_range(3) != 0;
      if (!en) begin
        record = {3{$urandom}};  // must be ignored
      end else if (more) begin
        records++;
        record = next_record;
        more = $fread(next_record, vectors) == 12;
      end
      #1 clk = 1'b1;
      #1 clk = 1'b0;
      if (en) begin
        edges++;
        if (edges >= FunctionLatency) $fwrite(results, "%u", y);
      end
    end
    $fclose(results);
    $finish;
  end

endmodule
