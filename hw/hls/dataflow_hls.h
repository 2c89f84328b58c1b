// The whole library.
#ifndef DATAFLOW_HLS_H_
#define DATAFLOW_HLS_H_

#include "df_arith.h"
#include "df_array.h"
#include "df_memory.h"
#include "df_move.h"
#include "df_types.h"
#include "df_weights.h"

#endif  // DATAFLOW_HLS_H_
