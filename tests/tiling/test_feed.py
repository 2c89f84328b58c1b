"""Passes and bank conflicts of the feed against the builder's enumeration."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from dataflow.arch import load_architecture
from dataflow.layers.feed import Feed
from dataflow.layers.layer import Layer
from dataflow.layers.legality import ports_conflict_free
from dataflow.layers.tiled import TiledLayer
from dataflow.layers.tiling import Tiling
from dataflow.machine import Machine, machine_of
from dataflow.tiling.feed import conflict_free, feeds_of, pass_kinds, reduction
from dataflow.tiling.shape import shape_of
from dataflow.tiling.weights import block_lines
from tests.mapper.graphs import resnet8
from tests.mapper.layers import random_array_layer

EDGE8 = machine_of(load_architecture("edge8"))
EDGE16 = machine_of(load_architecture("edge16"))


def tiling_of(layer: Layer, feed: Feed) -> Tiling:
    """Untiled but for a feed; several groups stand side by side."""
    return Tiling(
        (),
        {},
        "resident",
        0,
        0,
        "none",
        0,
        0,
        "resident",
        0,
        0,
        0,
        feed.feed,
        feed.ports,
        feed.fir_taps,
        feed.swap,
        feed.group_pack,
    )


def test_first_layer_of_resnet8_takes_two_passes_with_two_ports() -> None:
    shape = shape_of(resnet8().layers[0], EDGE16.cols)
    assert reduction(shape, Feed(), 3).merged
    assert [k.lines for k in pass_kinds(shape, Feed(ports=2), 3, 16) for _ in range(k.times)] == [
        16,
        11,
    ]
    assert sum(k.times for k in pass_kinds(shape, Feed(ports=1), 3, 16)) == 3


@pytest.mark.parametrize("machine", [EDGE8, EDGE16], ids=lambda m: str(m.name))
def test_passes_are_those_of_the_builder(machine: Machine) -> None:
    rng = random.Random(1)
    for _ in range(60):
        layer = random_array_layer(rng)
        shape = shape_of(layer, machine.cols)
        for feed in feeds_of(shape, machine.rows, machine.cols, machine.feed_ports):
            tiling = tiling_of(layer, feed)
            walk = TiledLayer(layer, tiling, machine).passes(layer.c)
            expected = Counter((one.lanes, len(one.taps)) for one in walk)
            found: Counter[tuple[int, int]] = Counter()
            for kind in pass_kinds(shape, feed, layer.c, machine.rows):
                found[kind.lines, kind.ports] += kind.times
            assert sum(lines * n for (lines, _), n in found.items()) == sum(
                lanes * n for (lanes, _), n in expected.items()
            )
            assert sum(found.values()) == len(walk)
            if feed.ports > 1 or feed.feed == "fir":
                assert found == expected
            zero = len(set(layer.stationary.zero)) > 1 if layer.stationary else False
            lines = sum(one.lanes + zero for one in walk)
            assert block_lines(shape, feed, layer.c, machine.rows) == lines


def test_feeds_are_all_that_the_array_can_do() -> None:
    rng = random.Random(2)
    seen: Counter[str] = Counter()
    for _ in range(80):
        layer = random_array_layer(rng)
        shape = shape_of(layer, EDGE8.cols)
        found = set(feeds_of(shape, EDGE8.rows, EDGE8.cols, EDGE8.feed_ports))
        depthwise = layer.groups > 1 and layer.c == layer.n == 1
        across = (layer.window("p"), layer.window("q"))
        narrow = layer.groups > 1 and layer.n <= EDGE8.cols
        packs = range(1, layer.groups + 1) if narrow else (1,)
        every = [Feed("flat", ports, 1, False, pack) for ports in (1, 2, 3) for pack in packs]
        if depthwise:
            pack = min(EDGE8.cols, layer.groups)
            every += [
                Feed("fir", ports, taps, swap, pack)
                for ports in range(1, EDGE8.feed_ports + 1)
                for taps in range(1, 6)
                for swap in (False, True)
                if ports <= (layer.taps_s if swap else layer.taps_r)
            ]
        array = (EDGE8.rows, EDGE8.cols)
        for feed in every:
            wrong = feed.obstacles(depthwise, *across, layer.n, narrow, array)
            if feed.feed == "flat" and feed.ports > 1:
                # No use where a tap alone fills the rows, or there are fewer taps.
                taps = layer.taps_r * layer.taps_s
                wrong += [] if layer.c * feed.group_pack % EDGE8.rows else ["full"]
                wrong += [] if feed.ports <= min(taps, EDGE8.feed_ports) else ["no tap"]
            assert (feed in found) == (not wrong), (feed, wrong)
            seen[feed.feed] += not wrong
        assert found <= set(every)
    assert min(seen["flat"], seen["fir"]) > 100


def test_conflict_check_never_passes_what_the_builder_refuses() -> None:
    rng = random.Random(3)
    passed = refused = 0
    for _ in range(200):
        layer = random_array_layer(rng)
        shape = shape_of(layer, EDGE8.cols)
        pitch = shape.y_bytes + rng.randrange(0, 64)
        for feed in feeds_of(shape, EDGE8.rows, EDGE8.cols, EDGE8.feed_ports):
            if feed.ports == 1:
                continue
            origin = -shape.pad_p * pitch - shape.pad_q * shape.x_bytes
            moves = (shape.c * feed.group_pack,) if shape.groups > 1 else ()
            ok = conflict_free(shape, feed, shape.c, pitch, shape.x_bytes, origin, 8, 8, EDGE8.rows)
            fine = ports_conflict_free(
                TiledLayer(layer, tiling_of(layer, feed), EDGE8),
                origin,
                pitch,
                shape.x_bytes,
                moves,
            )
            assert fine or not ok
            passed, refused = passed + ok, refused + (not fine)
    assert passed > 20
    assert refused > 20
