"""Which tilings the machine can run: one list of reasons, shared by the mapper and the builder."""

from __future__ import annotations

from math import gcd

from dataflow.layers.layer import Dim, Layer, View
from dataflow.layers.passes import banks_disjoint, port_reads
from dataflow.layers.tiled import TiledLayer
from dataflow.machine.isa import LEVELS, MOST_COUNT


def verify_tiling(tiled: TiledLayer) -> list[str]:
    """Reasons why the machine cannot run ``layer`` so; empty when it can.

    Addresses (whether buffers fit, bank conflicts) are checked by `verify_program`.
    """
    layer = tiled.layer
    reasons = _order(tiled)
    if reasons:
        return reasons
    reasons += _depths(tiled)
    reasons += _flat(tiled) if layer.flat else []
    reasons += _array(tiled) if layer.kind == "array" else []
    return reasons


def _order(tiled: TiledLayer) -> list[str]:
    layer, tiling = tiled.layer, tiled.tiling
    reasons = []
    if len(set(tiling.order)) != len(tiling.order) or len(tiling.order) > LEVELS:
        reasons.append(f"order {tiling.order} repeats a dim")
    for dim in tiling.order:
        tile = tiling.tile.get(dim, 0)
        if not 1 <= tile <= tiled.extent(dim):
            reasons.append(f"tile {dim}={tile} is not in 1..{tiled.extent(dim)}")
    if "k" in tiling.order and tiling.order[-1] != "k":
        reasons.append("k must be the innermost tiled dim")
    if layer.batch > 1 and tiled.tile("b") != 1:
        reasons.append("b must be tiled by 1")
    if layer.kind == "vector" and ("k" in tiling.order or "g" in tiling.order):
        reasons.append("a vector layer has no k and no g")
    if reasons:
        return reasons
    if any(n > MOST_COUNT for n in tiled.level_trips):
        reasons.append(f"more than {MOST_COUNT} tiles of a dim")
    if not layer.flat and any(tiled.tile(dim) > MOST_COUNT for dim in ("p", "q")):
        reasons.append(f"a tile has more than {MOST_COUNT} rows or columns")
    return reasons


def _depths(tiled: TiledLayer) -> list[str]:
    layer, tiling = tiled.layer, tiled.tiling
    reasons = []
    count = len(tiling.order)
    names = ("source_depth", "second_depth", "weight_depth", "param_depth")
    for name in names:
        if not 0 <= getattr(tiling, name) <= count:
            reasons.append(f"{name} is not in 0..{count}")
    for name, how, depth in (
        ("source", tiling.source, tiling.source_depth),
        ("second", tiling.second, tiling.second_depth),
    ):
        slots = tiling.source_slots if name == "source" else tiling.second_slots
        if how != "stream":
            continue
        if not 1 <= slots <= 15:
            reasons.append(f"a streamed {name} needs 1 to 15 slots")
        inside = tiling.order[:depth]
        if (
            layer.groups > 1
            and ("n" in inside or "k" in inside)
            and "g" not in inside
            and (name == "second" or "k" in inside)
        ):
            reasons.append(f"{name}: channels are cut inside groups that are not")
        view = layer.source if name == "source" else _second_view(layer)
        if (
            layer.batch > 1
            and "b" not in inside
            and view is not None
            and view.b_bytes
            and (inside or not view.dense)
        ):
            reasons.append(f"{name}: b must be inside the depth of a tiled buffer")
    if tiling.sink == "stream" and not 1 <= tiling.sink_slots <= 15:
        reasons.append("a streamed sink needs 1 to 15 slots")
    late = [d for d in tiling.order[: tiling.param_depth] if d == "k"]
    if late:
        reasons.append("parameters do not depend on k")
    second_on_vector = layer.second is not None
    if (
        second_on_vector
        and tiling.second == "stream"
        and "k" in tiling.order[: tiling.second_depth]
    ):
        reasons.append("the second source of the vector unit does not depend on k")
    return reasons


def _second_view(layer: Layer) -> View | None:
    if layer.stationary is not None and layer.stationary.view is not None:
        return layer.stationary.view
    return layer.second


def _flat(tiled: TiledLayer) -> list[str]:
    tiling, machine = tiled.tiling, tiled.machine
    reasons = []
    if any(dim != "q" for dim in tiling.order):
        reasons.append("a flat layer tiles only q")
    if "q" in tiling.order and tiling.tile["q"] % machine.cols:
        reasons.append(f"a flat tile must be a multiple of {machine.cols} bytes")
    if -(-tiled.tile("q") // machine.cols) > MOST_COUNT:
        reasons.append(f"a flat tile has more than {MOST_COUNT} rows")
    return reasons


def _array(tiled: TiledLayer) -> list[str]:
    layer, tiling, machine = tiled.layer, tiled.tiling, tiled.machine
    several = tiled.tile("g") > 1
    reasons = []
    if several and ("n" in tiling.order or "k" in tiling.order):
        reasons.append("several groups a tile need n and k untiled")
    depthwise = layer.groups > 1 and layer.c == layer.n == 1
    down, across = layer.window("p"), layer.window("q")
    array = (machine.rows, machine.cols)
    reasons += tiled.feed.obstacles(depthwise, down, across, layer.n, several, array)
    if not 1 <= tiling.ports <= machine.feed_ports:
        reasons.append(f"ports is not in 1..{machine.feed_ports}")
    stationary = layer.stationary
    assert stationary is not None
    if stationary.view is not None and (tiled.feed.per_channel or tiling.ports != 1):
        reasons.append("a stationary activation is fed flat, by one port")
    if reasons:
        return reasons
    shape = tiled.columns
    points = tiled.tile("p") * tiled.tile("q")
    lines = points * max(shape.blocks)
    if lines > machine.acc_lines:
        reasons.append(f"{lines} accumulator lines, {machine.acc_lines} in a half")
    if stationary.view is None:
        lines = weight_block_lines(tiled)
        if lines > machine.wbuf_lines:
            reasons.append(f"a block of {lines} weight lines, {machine.wbuf_lines} in the ring")
    lines = param_block_lines(tiled)
    if lines > machine.param_lines:
        reasons.append(f"a block of {lines} parameter lines, {machine.param_lines} in the ring")
    return reasons


def weight_block_lines(tiled: TiledLayer) -> int:
    """Lines of a full block of the weight ring: what order[weight_depth:] needs."""
    layer, tiling = tiled.layer, tiled.tiling
    k = tiled.ragged("k")
    zero = int(layer.stationary is not None and len(set(layer.stationary.zero)) > 1)
    inner = tiling.order[tiling.weight_depth :]
    count = dict(zip(tiling.order, tiled.level_trips, strict=True))

    def lines(size: int) -> int:
        walk = tiled.passes(size)
        return sum(p.lanes + zero for p in walk)

    own = lines(k[0]) * (count["k"] - 1) + lines(k[1]) if "k" in inner else lines(k[0])
    return own * _blocks(tiled, inner)


def param_block_lines(tiled: TiledLayer) -> int:
    """Lines of a full block of the parameter ring."""
    layer, tiling = tiled.layer, tiled.tiling
    return len(layer.params) * _blocks(tiled, tiling.order[tiling.param_depth :])


def _blocks(tiled: TiledLayer, inner: tuple[Dim, ...]) -> int:
    """Column blocks that the loops ``inner`` walk over."""
    tiling = tiled.tiling
    shape = tiled.columns
    count = dict(zip(tiling.order, tiled.level_trips, strict=True))
    blocks, repeats = max(shape.blocks), 1
    cut = tiling.order[shape.level] if shape.level < len(tiling.order) else None
    for dim in inner:
        if dim in ("g", "n"):
            if dim == cut:
                blocks = shape.blocks[0] * (count[dim] - 1) + shape.blocks[1]
            else:
                repeats *= count[dim]
    return repeats * blocks


def ports_conflict_free(
    tiled: TiledLayer,
    base: int,
    y_step: int,
    x_step: int,
    moves: tuple[int, ...] = (),
) -> bool:
    """Whether the feed reads of one cycle always fall into different banks.

    A read of a line at any byte address touches one line, or two neighbours when unaligned; port
    addresses are those of `passes`.

    Args:
        base: byte address of tap (0, 0) of the first point.
        y_step, x_step: bytes from row to row and from column to column on chip.
        moves: other byte steps by which the base moves (tile strides, slots).
    """
    layer, tiling, machine = tiled.layer, tiled.tiling, tiled.machine
    if tiling.ports == 1:
        return True
    shape = tiled.columns
    taps = {"p": layer.dilation_r * y_step, "q": layer.dilation_s * x_step}
    outer, inner = ("q", "p") if tiling.swap else ("p", "q")
    line, banks = machine.line_bytes, machine.act_banks
    grid = gcd(line, layer.stride_p * y_step, layer.stride_q * x_step, *moves)
    if tiled.tile("g") > 1:
        grid = gcd(grid, shape.pack * layer.c)
    if tiled.feed.by_tap:
        grid = gcd(grid, taps[inner])
    residues = range(base % grid, line, grid)
    for k in {tiled.ragged("k")[0], tiled.ragged("k")[1]}:
        merged = tiled.reduction(k).merged
        a_step = taps["p"] if merged else taps[outer]
        b_step = taps[inner]
        for one in tiled.passes(k):
            reads = port_reads(one, tiled.feed, a_step, b_step)
            if not all(banks_disjoint([r + at for at in reads], line, banks) for r in residues):
                return False
    return True
