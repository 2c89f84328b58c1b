"""The modelled machine as one record of 64-bit integers: registers, engine states, rings.

`seen` holds every register that more than one engine reads as it stands in the current cycle,
`coming` as it will stand in the next one; all other fields belong to one engine.
"""

from __future__ import annotations

import numpy as np

from dataflow.machine.isa import LEVELS, Counter

WORD = np.int64

# Registers: the event counters 0..15 of `isa.Event`, then FIFO fill levels and shared counts.
(
    BEATS,  # program beats received and not dealt
    RESERVED,  # program beats requested and not dealt
    REQUESTS,  # read bursts that wait for AR
    OPEN_READS,  # read bursts between AR and their last R beat
    READS_TO_COME,  # read bursts whose last R beat has not been presented
    LOAD_DATA,  # R beats of the load engine
    LOAD_BURSTS,  # what the delivering side of load has yet to do
    FEED_PASSES,
    WEIGHT_PASSES,
    STORE_BURSTS,  # what the moving side of store has yet to do
    ADDRESSES,  # write bursts that wait for AW
    WRITE_DATA,  # beats that wait for W
    WRITE_PLACES,  # beats between their read and W
    LEAD,  # AW handshakes minus bursts of W data finished
    OPEN_WRITES,  # write bursts between AW and B
    WRITES_KNOWN,  # write bursts whose data has not all come
    WRITES_TO_ANSWER,  # write bursts with all data and no B presented
    ANSWERS,  # B handshakes
    NULLS_PASSED,  # stored tiles without data
    RETIREMENTS,  # store instructions that wait for their answers
    W_WRITTEN,  # ring lines since the start, weights and parameters
    W_FREED,
    P_WRITTEN,
    P_FREED,
    QUEUES,  # beats in the instruction queues, four registers by unit
) = range(16, 41)
REGISTERS = QUEUES + 4

# Capacities of the record's rings, at least what the machine's FIFOs hold.
MAX_OUTSTANDING = 1024
LOAD_RING = 2 * MAX_OUTSTANDING
LOAD_FIFO = 32  # at least; twice the outstanding reads when that is more
STORE_FIFO = 8
WRITE_FIFO = 8
RETIRE_FIFO = 4
PASS_FIFO = 4
REQUEST_FIFO = 2
MAX_BANKS = 64
PIPE = 64  # more than the stages of a vector lane with a function stage
IN_FLIGHT = 256  # accumulator blocks under way in the array

# Order of the clients of the activation memory, first priority first.
VECTOR_WRITE, VECTOR_READ, STATIONARY, LOAD_WRITE, STORE_READ = range(5)
CLIENTS = 5


def _group(names: str, **rings: tuple[int, ...] | np.dtype[np.void]) -> np.dtype[np.void]:
    """Integer fields by name, then arrays (a shape) and inner records (a type)."""
    fields: list[object] = [(name, WORD) for name in names.split()]
    for name, kind in rings.items():
        fields.append((name, kind) if isinstance(kind, np.dtype) else (name, WORD, kind))
    return np.dtype(fields)


SIZES = _group(
    "rows line shift beats banks wbuf_lines param_lines fifo max_burst outstanding load_fifo"
    " read_latency write_latency strip latency write_stage base function_extra"
    " function_lanes"
)
FETCH = _group("state left address instruction beat done_at")
QUEUE = _group("taken accepted", state=(4,), index=(4,), left=(4,), at=(4,), fixed=(4,))
DRAM = _group(
    "free refresh_at used writes banks row_bytes burst_bytes cycles bytes_moved activate precharge"
    " write_recovery to_read to_write refresh refresh_interval",
    open=(MAX_BANKS,),
    row=(MAX_BANKS,),
    settled=(MAX_BANKS,),
)
BUS = _group(
    "tail taken accepted head beat r_valid r_unit r_last r_part",
    request=(REQUEST_FIFO, 3),  # unit, beats, address
    burst=(MAX_OUTSTANDING, 3),  # unit, beats, due
)
LOAD = _group(
    "state at done chosen is_tile y x z rows columns columns_all segment dram row_dram local"
    " row_local segment_dram segment_local walk_from w_asked p_asked beats wanted event tail",
    fires=(2,),
    index=(LEVELS,),
)
DELIVER = _group("head beat quarter", burst=(LOAD_RING, 7))
SEQUENCER = _group(
    "state at half block tap_a tap_b offset reduction lanes taps pass_taps push_at pointer"
    " blocks_begun tile_fires second_fires second_held second_line taps_done first_pass"
    " waits_tile waits_acc tile_event tile_wanted second_event second_wanted acc_wanted tail"
    " tile_fires_here second_fires_here p_count q_count blocks segment columns fir_taps",
    index=(LEVELS,),
    start=(LEVELS,),
)
FEED = _group(
    "head running end releases finishes layer pulse_release pulse_done pulse_layer acc_head"
    " acc_tail starts idle_from fir_rows",
    acc=(IN_FLIGHT,),
    # steps, tail, block ends, releases, instruction ends, layer, rows of a FIR port (0: flat)
    passes=(PASS_FIFO, 7),
)
WEIGHTS = _group(
    "head free_from idle_from shadow_from settled ready_at begun left address stride release"
    " freed freed_at release_at",
    passes=(PASS_FIFO, 8),  # source, lines, zero line, pointer, frees, address, stride, release
)
VECTOR = _group(
    "state at start_at ops_beats table_beats tiles_busy tile_valid acc_wanted stepped level"
    " first_event first_wanted second_event second_wanted sink_event sink_wanted"
    " first_here second_here sink_here first_fires second_fires sink_fires first_slot second_slot"
    " sink_slot waits_source waits_sink",
    index=(LEVELS,),
)
TILE = _group(
    "first y x second sink p_last q_last block_last releases_first releases_second releases_out"
    " releases_params rewinds level opens ends"
)
CONTROL = _group(
    "busy block params_left op line gap after p q saved_p saved_q r s use body_use pointer waited",
    began=(LEVELS,),
)
ISSUE = _group(
    "valid param reads address param_count param_frees sinks sink_address releases_first"
    " releases_second releases_out ends computes last_at written_at waited",
    pipe=(PIPE, 4),  # writes, address, tile complete, instruction ends
)
STORE = _group(
    "state at stored rows columns columns_all segment dram row_dram local row_local segment_dram"
    " segment_local z wanted event fires tail bursts nulls retire_head retire_tail",
    index=(LEVELS,),
    retirement=(RETIRE_FIFO, 3),  # bursts, nulls, layer
)
COLLECT = _group(
    "head beat flight1 flight2 data_head data_tail aw_head aw_tail due_head due_tail b_valid"
    " w_part writes_head writes_tail",
    burst=(STORE_FIFO, 5),  # local address, offset, bytes, beats, tile ends
    data=(WRITE_FIFO,),  # last beat of a burst
    writes=(MAX_OUTSTANDING, 2),  # address, beats of the bursts whose data has not all come
    due=(MAX_OUTSTANDING,),
)
ACT = _group("", valid=(CLIENTS,), address=(CLIENTS,))

WORLD = _group(
    "now quiet retired idle_since",
    seen=(REGISTERS,),
    coming=(REGISTERS,),
    counters=(len(Counter),),
    sizes=SIZES,
    fetch=FETCH,
    queue=QUEUE,
    dram=DRAM,
    bus=BUS,
    load=LOAD,
    deliver=DELIVER,
    sequencer=SEQUENCER,
    feed=FEED,
    weights=WEIGHTS,
    vector=VECTOR,
    tile=TILE,
    tile_held=TILE,
    control=CONTROL,
    issue=ISSUE,
    store=STORE,
    collect=COLLECT,
    act=ACT,
)
