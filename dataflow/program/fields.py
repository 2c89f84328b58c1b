"""Fields of the array and vector instructions of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.layers.axis import ceil_div
from dataflow.layers.feed import Feed
from dataflow.layers.layer import Dim, Layer, MicroOp
from dataflow.layers.tiled import NO_LEVEL, Columns, TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine.isa import LEVELS, MICRO_OP, Value, pack
from dataflow.program.addressing import ADDRESS_MASK, Local
from dataflow.program.operands import Operand


def tile_fields(
    base: int,
    strides: Sequence[int],
    depth: int,
    local: Local,
    ready: Value | None,
) -> dict[str, Value]:
    """A TILE group."""
    return {
        "enable": 1,
        "depth": depth,
        "base": base & ADDRESS_MASK,
        "strides": [s & ADDRESS_MASK for s in strides],
        "slots": local.slots,
        "slot_bytes": local.slot_bytes if local.slots else 0,
        "ready": ready if ready is not None else {},
    }


def level_trips(tiled: TiledLayer, *, skip_k: bool = False) -> list[int]:
    """Trips of all hardware levels; the vector and store engines run once per output tile."""
    tiling = tiled.tiling
    counts = [
        1 if skip_k and dim == "k" else n
        for dim, n in zip(tiling.order, tiled.level_trips, strict=True)
    ]
    return counts + [1] * (LEVELS - len(counts))


def step(addr: int = 0, y: int = 0, x: int = 0) -> dict[str, Value]:
    """A STEP group."""
    return {"addr": addr & ADDRESS_MASK, "y": y, "x": x}


def per_level(tiled: TiledLayer, units: dict[Dim, int]) -> list[int]:
    """Signed step of each level: tile size times units per element of the dim."""
    tiling = tiled.tiling
    result = [0] * LEVELS
    for at, dim in enumerate(tiling.order):
        result[at] = tiled.tile(dim) * units.get(dim, 0)
    return result


def level_mask(tiling: Tiling, depth: int, dims: str) -> int:
    """Bits of the levels >= depth whose dim is in ``dims``."""
    return sum(1 << at for at, d in enumerate(tiling.order) if at >= depth and d in dims)


def spatial(tiled: TiledLayer) -> dict[str, Value]:
    """p and q counts and levels: the outer and inner feed loop, exchanged by ``swap``."""
    tiling = tiled.tiling
    outer: Dim = "q" if tiling.swap else "p"
    inner: Dim = "p" if tiling.swap else "q"
    return {
        "p_level": tiled.level(outer),
        "q_level": tiled.level(inner),
        "p_count": tiled.ragged(outer),
        "q_count": tiled.ragged(inner),
    }


def source_base(layer: Layer, source: Operand) -> int:
    """Address of tap (0, 0), channel 0 of the first output point."""
    local = source.local
    return (
        local.base
        + (-layer.pad_p - local.y_origin) * local.y_step
        + (-layer.pad_q - local.x_origin) * local.x_step
    )


def array_fields(
    tiled: TiledLayer,
    source: Operand,
    second: Operand | None,
    acc_base: int,
    ready: Value | None,
    second_ready: Value | None,
) -> dict[str, Value]:
    """All fields of ARRAY but header and retired."""
    layer, tiling = tiled.layer, tiled.tiling
    assert layer.stationary is not None
    local, shape = source.local, tiled.columns
    size = tiled.ragged("k")
    full, last = tiled.reduction(size[0]), tiled.reduction(size[1])
    taps = {
        "p": (layer.dilation_r * local.y_step, layer.dilation_r, 0),
        "q": (layer.dilation_s * local.x_step, 0, layer.dilation_s * local.x_step),
    }
    points = {
        "p": (layer.stride_p * local.y_step, layer.stride_p, 0),
        "q": (layer.stride_q * local.x_step, 0, layer.stride_q * local.x_step),
    }
    outer, inner = ("q", "p") if tiling.swap else ("p", "q")
    tap_outer, tap_inner = ("p", "q") if full.merged else (outer, inner)
    # In the fir feed a step moves by one tap, unless a port feeds only one.
    inner_step = taps[inner] if tiled.feed.by_tap else points[inner]
    moves: dict[Dim, int] = {d: u for d, u in source.local_units.items() if d not in local.moving}
    x_units: dict[Dim, int] = {d: u for d, u in moves.items() if d in ("g", "k")}
    x_units["q"] = layer.stride_q * local.x_step
    pass_taps = tiling.fir_taps if tiled.feed.per_channel else 1
    packed = tiled.tile("g") > 1
    stationary = second is not None and layer.stationary.view is not None
    result: dict[str, Value] = {
        "trips": level_trips(tiled),
        **spatial(tiled),
        "n_level": shape.level,
        "k_level": tiled.level("k"),
        "blocks": shape.blocks,
        "columns": shape.width,
        "columns_last": shape.last,
        "mac_columns": layer.n if packed and shape.pack > 1 and not tiled.feed.per_channel else 0,
        "taps_a": full.taps_a,
        "taps_b": full.taps_b,
        "segment": (full.segment, last.segment),
        "ports": tiling.ports,
        "fir": int(tiled.feed.per_channel),
        "fir_taps": tiling.fir_taps,
        "fir_stride": tiled.point_stride,
        "tile": tile_fields(
            source_base(layer, source), source.strides(tiled), source.depth, local, ready
        ),
        "y": -layer.pad_p,
        "y_strides": per_level(tiled, {"p": layer.stride_p}),
        "x": -layer.pad_q * local.x_step,
        "x_strides": per_level(tiled, x_units),
        "y_size": layer.source.shape[1],
        "x_size": layer.source.shape[2] * local.x_step,
        "p_step": step(*points[outer]),
        "q_step": step(*inner_step),
        "a_step": step(*taps[tap_outer]),
        "b_step": step(*(move * pass_taps for move in taps[tap_inner])),
        "block_step": shape.pack * layer.c if packed else 0,
        "x_zero": layer.source_zero,
        "x_signed": int(layer.source_signed),
        "w_zero": layer.stationary.zero[0] if not tiled.zero_lines else 0,
        "w_signed": int(layer.stationary.signed),
        "w_zero_lines": int(tiled.zero_lines),
        "w_source": 0,
        "w_depth": tiling.weight_depth,
        "w_irrelevant": level_mask(tiling, tiling.weight_depth, "bpq"),
        "acc_base": acc_base,
    }
    if stationary:
        assert second is not None
        result |= _stationary_fields(tiled, second, second_ready)
    return result


def feed_of(fields: Mapping[str, Value]) -> tuple[Feed, int]:
    """How an ARRAY instruction feeds the array, and its feed steps from point to point."""
    ports, taps, stride = (fields[name] for name in ("ports", "fir_taps", "fir_stride"))
    assert isinstance(ports, int) and isinstance(taps, int) and isinstance(stride, int)
    return Feed("fir" if fields["fir"] else "flat", ports, taps), stride


def _stationary_fields(tiled: TiledLayer, second: Operand, ready: Value | None) -> dict[str, Value]:
    layer = tiled.layer
    assert layer.stationary is not None
    return {
        "w_source": 2 if layer.stationary.transposed else 1,
        "w_depth": 0,
        "w_irrelevant": 0,
        "second": tile_fields(
            second.local.base, second.strides(tiled), second.depth, second.local, ready
        ),
        "second_k": second.local_units["k"],
        "second_n": second.local_units["n"],
        "second_block": tiled.columns.width * second.local_units["n"],
    }


def vector_fields(
    tiled: TiledLayer,
    source: Operand,
    second: Operand | None,
    sink: Operand,
    acc_base: int,
    ready: Value | None,
    second_ready: Value | None,
    sink_ready: Value | None,
) -> dict[str, Value]:
    """All fields of VECTOR but header and retired."""
    layer, tiling, cols = tiled.layer, tiled.tiling, tiled.machine.cols
    shape = tiled.columns
    from_acc = layer.kind == "array"
    micro = layer.micro
    result: dict[str, Value] = {
        "trips": level_trips(tiled, skip_k=True),
        **spatial(tiled),
        "n_level": shape.level,
        "blocks": shape.blocks,
        "lanes": shape.width,
        "lanes_last": shape.last,
        "from_acc": int(from_acc),
        "bias": int(layer.bias),
        "acc_base": acc_base,
        "y_size": layer.source.shape[1],
        "x_size": layer.source.shape[2],
        "pad_value": layer.pad_value,
        "window_r": 1 if from_acc else layer.taps_r,
        "window_s": 1 if from_acc else layer.taps_s,
        "second_use": layer.second_use,
        "params": len(layer.params),
        "params_depth": tiling.param_depth,
        "params_irrelevant": level_mask(tiling, tiling.param_depth, "bpq"),
        "sink": tile_fields(sink.local.base, sink.strides(tiled), LEVELS, sink.local, sink_ready),
        "ops_init": len(micro.init),
        "ops_body": len(micro.body),
        "ops_final": len(micro.final),
        "table": int(micro.table is not None),
        "constants": list(micro.constants) + [0] * (8 - len(micro.constants)),
    }
    result |= _sink_steps(tiled, sink, shape, cols)
    if not from_acc:
        result |= _first_fields(tiled, source, shape, ready)
    if second is not None and layer.second is not None:
        result["second"] = _second_fields(tiled, second, shape, second_ready)
    if layer.flat:
        result |= _flat_fields(tiled)
    return result


def _sink_steps(tiled: TiledLayer, sink: Operand, shape: Columns, cols: int) -> dict[str, Value]:
    layer, tiling = tiled.layer, tiled.tiling
    rows, columns_ = sink.local.y_step, sink.local.x_step
    if layer.flat:
        rows, columns_ = 0, cols
    if tiling.swap:
        rows, columns_ = columns_, rows
    return {
        "sink_p": rows & ADDRESS_MASK,
        "sink_q": columns_ & ADDRESS_MASK,
        "sink_block": shape.width,
    }


def _first_fields(
    tiled: TiledLayer, source: Operand, shape: Columns, ready: Value | None
) -> dict[str, Value]:
    layer, cols = tiled.layer, tiled.machine.cols
    local = source.local
    column = layer.stride_q * local.x_step
    first: dict[str, Value] = {
        "tile": tile_fields(
            source_base(layer, source), source.strides(tiled), source.depth, local, ready
        ),
        "p_step": step(layer.stride_p * local.y_step, layer.stride_p, 0),
        "q_step": step(cols * local.x_step if layer.flat else column, 0, layer.stride_q),
        "block_step": 0 if layer.source.splat else shape.width,
        "zero": layer.source_zero,
        "signed": int(layer.source_signed),
        "mode": int(layer.source.splat),
    }
    return {
        "first": first,
        "y": -layer.pad_p,
        "y_strides": per_level(tiled, {"p": layer.stride_p}),
        "x": -layer.pad_q,
        "x_strides": per_level(tiled, {"q": layer.stride_q}),
        "r_step": step(layer.dilation_r * local.y_step, layer.dilation_r, 0),
        "s_step": step(layer.dilation_s * local.x_step, 0, layer.dilation_s),
    }


def _second_fields(
    tiled: TiledLayer, second: Operand, shape: Columns, ready: Value | None
) -> dict[str, Value]:
    layer, tiling, cols = tiled.layer, tiled.tiling, tiled.machine.cols
    assert layer.second is not None
    local = second.local
    rows, columns_ = step(local.y_step), step(local.x_step * (cols if layer.flat else 1))
    if tiling.swap:
        rows, columns_ = columns_, rows
    single = layer.second.splat or layer.second_words
    return {
        "tile": tile_fields(local.base, second.strides(tiled), second.depth, local, ready),
        "p_step": rows,
        "q_step": columns_,
        "block_step": 0 if single else shape.width,
        "zero": layer.second_zero,
        "signed": int(layer.second_signed),
        "mode": 2 if layer.second_words else int(layer.second.splat),
    }


def _flat_fields(tiled: TiledLayer) -> dict[str, Value]:
    """Bytes as rows of ``cols`` lanes, the last row cut by the lane limit."""
    cols = tiled.machine.cols
    size = tiled.ragged("q")
    return {
        "q_count": (ceil_div(size[0], cols), ceil_div(size[1], cols)),
        "x_size": ceil_div(tiled.extent("q"), cols) * cols,
        "x_strides": [0] * LEVELS,
        "limit_enable": 1,
        "limit_step": cols,
        "limit": size,
        "n_level": NO_LEVEL,
    }


def payload(layer: Layer, line_bytes: int) -> bytes:
    """Micro-operations, padded to a beat, then the table."""
    micro = layer.micro
    words = b"".join(
        pack(MICRO_OP, micro_fields(op)).to_bytes(MICRO_OP.bits // 8, "little")
        for op in (*micro.init, *micro.body, *micro.final)
    )
    words += bytes(-len(words) % line_bytes)
    return words + (micro.table or b"")


def micro_fields(op: MicroOp) -> dict[str, Value]:
    """The packed form's fields of a micro-operation."""
    zero, low, high = op.to_int or (0, 0, 0)
    return {
        "op": int(op.op),
        "a": int(op.a),
        "b": int(op.b),
        "c": int(op.c),
        "a_float": int(op.a_float),
        "b_float": int(op.b_float),
        "a_negate": int(op.a_negate),
        "b_negate": int(op.b_negate),
        "c_negate": int(op.c_negate),
        "to_int": int(op.to_int is not None),
        "zero": zero,
        "lo": low,
        "hi": high,
        "dst": op.dst or 0,
        "write": int(op.dst is not None),
        "sink": int(op.sink),
        "first_b": int(op.first_b),
        "depends": int(op.depends),
        "function": int(op.function),
    }
