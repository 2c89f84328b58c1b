// Does the machine take the instructions that its queues offer? Combinational.
//
// Each field for itself (the tables of dataflow/machine/isa.py), the length against what the engine
// reads, and what fields ask of each other. An instruction that is refused ends the job before it
// reaches a memory: an engine's first access comes cycles after it has taken an instruction.

module instr_check
  import df_pkg::*;
  import vector_pkg::MaxOps;
  import vector_pkg::OpsPerBeat;
  import vector_pkg::TableBeats;
(
  input  logic [3:0]       valid_i,   // by unit
  // Few fields are looked at.
  // verilator lint_off UNUSEDSIGNAL
  input  load_t            load_i,
  input  array_t           array_i,
  input  vector_t          vector_i,
  input  store_t           store_i,
  // verilator lint_on UNUSEDSIGNAL
  output logic [3:0]       illegal_o,
  output logic [3:0][15:0] layer_o
);

  localparam int unsigned LoadBeats   = ($bits(load_t) + LineBits - 1) / LineBits;
  localparam int unsigned ArrayBeats  = ($bits(array_t) + LineBits - 1) / LineBits;
  localparam int unsigned VectorBeats = ($bits(vector_t) + LineBits - 1) / LineBits;
  localparam int unsigned StoreBeats  = ($bits(store_t) + LineBits - 1) / LineBits;

  logic [7:0]  ops;
  logic [15:0] vector_beats;
  logic        ops_legal;
  logic [3:0]  legal;

  assign ops = 8'(vector_i.ops_init) + 8'(vector_i.ops_body) + 8'(vector_i.ops_final);
  assign ops_legal = ops != '0 && ops <= 8'(MaxOps);
  assign vector_beats = 16'(VectorBeats) + (16'(ops) + 16'(OpsPerBeat - 1)) / 16'(OpsPerBeat)
                        + (vector_i.table_f ? 16'(TableBeats) : '0);

  assign legal[UnitLoad[1:0]]   = legal_load_t(load_i) && load_i.header.beats == 16'(LoadBeats);
  assign legal[UnitArray[1:0]]  = legal_array_t(array_i)
                                  && array_i.header.beats == 16'(ArrayBeats);
  assign legal[UnitVector[1:0]] = legal_vector_t(vector_i) && ops_legal
                                  && vector_i.header.beats == vector_beats;
  assign legal[UnitStore[1:0]]  = legal_store_t(store_i)
                                  && store_i.header.beats == 16'(StoreBeats);

  assign illegal_o = valid_i & ~legal;
  assign layer_o = {store_i.header.layer, vector_i.header.layer, array_i.header.layer,
                    load_i.header.layer};

endmodule
