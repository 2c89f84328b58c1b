// Types and constants shared by the parts of the vector engine.
//
// Stages count the cycles since a line was issued (stage 0, the cycle of its memory reads).

package vector_pkg;
  import df_pkg::*;

  // Waived: each user of a package reads only some of its constants.
  // verilator lint_off UNUSEDPARAM

  localparam int unsigned MaxOps = 64;  // micro-operations of an instruction
  localparam int unsigned OpIdxW = $clog2(MaxOps);
  localparam int unsigned OpsPerBeat = LineBits / $bits(micro_op_t);
  localparam int unsigned TableBeats = 256 / LineBytes;
  localparam int unsigned StripW = VectorStrip > 1 ? $clog2(VectorStrip) : 1;
  localparam int unsigned AccIdxW = $clog2(AccLines);
  localparam int unsigned ParamIdxW = $clog2(ParamLines);
  localparam int unsigned LevelIdxW = $clog2(Levels);

  localparam int unsigned SourceStage = 2;   // read data becomes S0, S1, P0, P1
  localparam int unsigned SelectStage = 3;   // operands are selected, the register file is read
  localparam int unsigned ConvertStage = 4;  // int32 to binary32
  localparam int unsigned ExecuteStage = ConvertStage + fp32_pkg::FromIntLatency;
  localparam int unsigned FinishStage = ExecuteStage + fp32_pkg::FmaLatency;  // binary32 to a code
  localparam int unsigned WriteStage = FinishStage + fp32_pkg::ToIntLatency;  // register, sink

  // From the issue of a line to the issue of a line that reads the register it writes: the register
  // holds a result from the write stage on.
  localparam int unsigned Latency = WriteStage - SelectStage;

  // Lanes that a function stage serves, one a cycle.
  localparam int unsigned FunctionLanes = VectorFunctions == 0 ? 2
                                          : (Cols + VectorFunctions - 1) / VectorFunctions;

  // A line of a function leaves the lanes at the finish stage and comes back there so many cycles
  // later: a register before the stage, its latency, and one cycle for each further lane.
  localparam int unsigned FunctionExtra = fp32_function_pkg::FunctionLatency + FunctionLanes;

  // verilator lint_on UNUSEDPARAM

  // What the walk over the tile loops hands over for each iteration.
  typedef struct packed {
    logic [23:0] first_addr;  // of the tile's first point
    logic [23:0] y;
    logic [23:0] x;
    logic [23:0] second_addr;
    logic [23:0] sink_addr;
    logic        acc_half;
    logic [15:0] p_last;  // counts minus one
    logic [15:0] q_last;
    logic [15:0] block_last;
    logic [7:0]  lanes_last;
    logic [23:0] limit;
    logic        release_first;  // the scope of the source ends with this tile
    logic        release_second;
    logic        release_out;
    logic        release_params;
    logic        rewind;  // parameters: back to where `level` began
    logic [LevelIdxW-1:0] level;
    logic [Levels-1:0]    opens;  // this level and all deeper ones stand at index 0
    logic        instr_last;
  } tile_work_t;

  // One line of a micro-operation, or one parameter line to fetch.
  typedef struct packed {
    logic                 param;  // a parameter line, nothing below but the next four fields
    logic                 param_index;
    logic                 param_free;  // the ring is free up to this line
    logic [23:0]          param_count;  // lines of the ring before this one, since reset
    logic [ParamIdxW-1:0] param_line;
    micro_op_t            op;
    logic [StripW-1:0]    line;  // of the strip
    logic                 take_b;  // the result is operand b
    logic                 use_s0;
    logic                 use_s1;
    logic                 outside;  // S0 lies outside the tensor
    logic                 acc_read;
    logic                 acc_half;
    logic [AccIdxW-1:0]   acc_line;
    logic                 act_read;
    logic [23:0]          act_addr;
    logic                 sink;
    logic [23:0]          sink_addr;
    logic [7:0]           sink_lanes;
    logic                 release_first;
    logic                 release_second;
    logic                 release_out;
    logic                 instr_last;
    logic [15:0]          layer;
  } line_t;

  // What a line of a function is when it comes back.
  typedef struct packed {
    logic               to_int;
    logic signed [9:0]  zero;
    logic signed [9:0]  lo;
    logic signed [9:0]  hi;
    logic [1:0]         dst;
    logic               write;
    logic [StripW-1:0]  line;
    logic               sink;
    logic [23:0]        sink_addr;
    logic [7:0]         sink_lanes;
    logic               release_out;
    logic               instr_last;
    logic [15:0]        layer;
  } returning_t;

  // Is `source` one of the operands a, b, c? (Selectors that an operation does not use are 0.)
  function automatic logic selects(
    input logic [4:0] a, input logic [4:0] b, input logic [4:0] c, input logic [4:0] source
  );
    return a == source || b == source || c == source;
  endfunction

  typedef enum logic [1:0] {
    CursorStepQ,    // inner step
    CursorStepP,    // outer step, from the start of the inner loop
    CursorRestore,  // to the saved position
    CursorBlock     // to the start of the next block
  } cursor_e;

endpackage
