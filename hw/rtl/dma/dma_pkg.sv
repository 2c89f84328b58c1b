// What the issuing sides of the load and store engines tell the sides that move the data.

package dma_pkg;

  typedef enum logic [1:0] {
    RefWeights,
    RefParams,
    RefSource,
    RefSecond
  } reference_e;

  typedef struct packed {
    reference_e                  kind;
    logic [23:0]                 on_chip;  // local address of byte 0 of the first beat; when
                                           // `retire`, the layer
    logic [df_pkg::LineIdxW-1:0] offset;   // of the first byte in the first beat
    logic [12:0]                 bytes;    // 0: no data belongs to this entry
    logic                        last;     // the tile's event follows
    logic                        retire;   // the instruction ends here
  } burst_t;

  typedef struct packed {
    logic [23:0]                 on_chip;  // local address of byte 0 of the first beat
    logic [df_pkg::LineIdxW-1:0] offset;   // of the first byte in the first beat
    logic [12:0]                 bytes;    // 0: no data belongs to this entry
    logic                        last;     // the tile is free after it
  } write_burst_t;

endpackage
