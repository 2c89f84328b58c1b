// What the issuing sides of the load and store engines tell the sides that move the data.

package dma_pkg;

  typedef enum logic [1:0] {
    RefWeights,
    RefParams,
    RefSource,
    RefSecond
  } reference_e;

  // A burst: which lines, and which bytes of the first and the last of them belong to it. `data`
  // and `single` follow from the beats; they go along because the banks' arbiter waits for them.
  typedef struct packed {
    logic [23:0]                 on_chip;  // local address of byte 0 of the first beat
    logic [df_pkg::LineIdxW-1:0] offset;   // of the first byte in the first beat
    logic [df_pkg::LineIdxW-1:0] pad;      // bytes of the last beat behind the last byte
    logic [8:0]                  beats;
    logic                        data;     // there are beats; else the entry is no burst
    logic                        single;   // there is one
  } span_t;

  typedef struct packed {
    reference_e kind;
    span_t      span;    // when `retire`, on_chip is the layer
    logic       last;    // the tile's event follows
    logic       retire;  // the instruction ends here
  } burst_t;

  typedef struct packed {
    span_t span;
    logic  last;  // the tile is free after it
  } write_burst_t;

endpackage
