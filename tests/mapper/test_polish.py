"""Coordinate descent by a judge, against trying every neighbour of its answer."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from unittest import mock

import pytest

from dataflow.layers.plan import MemoryMap, NetworkMapping
from dataflow.layers.tiling import Tiling
from dataflow.mapper import polish as room
from dataflow.mapper.modes import LayerMode
from dataflow.mapper.polish import polish, trials
from dataflow.mapper.problem import Choice, Option
from dataflow.mapper.refine import Fronts, Judged
from dataflow.tiling.candidates import Candidate
from dataflow.tiling.columns import COLUMNS, Mode
from dataflow.tiling.shape import LayerShape, shape_of
from tests.mapper.graphs import Builder

MODE = LayerMode(Mode("resident", "none", True, False), ())
TILING = Tiling((), {}, "resident", 0, 0, "none", 0, 0, "resident", 0, 0, 0)
MAPPING = NetworkMapping("made up", {}, MemoryMap({}, {}, {}), 0, 0, False)


def candidate(cycles: int) -> Candidate:
    return Candidate(tuple(cycles if name == "cycles" else 0 for name in COLUMNS), TILING)


def shape(rows: int = 9, columns: int = 5) -> LayerShape:
    net = Builder("one", rows, columns, 16)
    net.conv("a", "input", 16, 3, 1, 1)
    return shape_of(net.graph().layers[0], 16)


class Case:
    """A chain whose cycles depend on each pair of neighbours, as tails and starts do."""

    def __init__(self, seed: int, layers: int = 4, rows: int = 5) -> None:
        rng = random.Random(seed)
        self.fronts: Fronts = tuple(
            ((MODE, tuple(candidate(100 + rng.randrange(9)) for _ in range(rows))),)
            for _ in range(layers)
        )
        self.shapes = (shape(),) * layers
        self.extra = {
            key: rng.randrange(40) for key in product(range(layers), range(rows), range(rows))
        }
        self.unpacked = {(0, rng.randrange(1, rows)), (layers - 1, rng.randrange(1, rows))}
        self.asked = 0

    def choice(self, places: tuple[int, ...]) -> Choice:
        options = tuple(
            Option(MODE, front[0][1][place], place)
            for front, place in zip(self.fronts, places, strict=True)
        )
        return Choice(options, {}, 0, 0)

    def judge(self, choice: Choice) -> Judged | None:
        self.asked += 1
        places = [option.place for option in choice.options]
        if any((i, place) in self.unpacked for i, place in enumerate(places)):
            return None
        measured = tuple(
            option.candidate["cycles"] + self.extra[i, place, places[i - 1] if i else 0]
            for i, (option, place) in enumerate(zip(choice.options, places, strict=True))
        )
        return Judged((sum(measured), places[0]), choice, measured, MAPPING)


@pytest.mark.parametrize("seed", range(20))
def test_no_change_of_one_layer_is_faster(seed: int) -> None:
    case = Case(seed)
    first = case.judge(case.choice((0, 0, 0, 0)))
    assert first is not None
    best = polish(case.shapes, case.fronts, first, case.judge)
    assert best.key <= first.key and best == case.judge(best.choice)
    places = [option.place for option in best.choice.options]
    for layer, other in product(range(4), range(5)):
        neighbour = case.choice((*places[:layer], other, *places[layer + 1 :]))
        found = case.judge(neighbour)
        assert found is None or found.key >= best.key


def test_it_finds_what_the_model_does_not_see() -> None:
    improved = 0
    for seed in range(20):
        case = Case(seed)
        first = case.judge(case.choice((0, 0, 0, 0)))
        assert first is not None
        improved += polish(case.shapes, case.fronts, first, case.judge).key < first.key
    assert improved >= 18


def test_the_effort_is_limited_and_the_same_everywhere() -> None:
    case = Case(0)
    first = case.judge(case.choice((0, 0, 0, 0)))
    assert first is not None
    with mock.patch.object(room, "POLISHED_LAYERS", 4 * 5 + 3):
        case.asked = 0
        polish(case.shapes, case.fronts, first, case.judge)
        assert case.asked == 5
    assert trials(11, 50_000) > 100
    assert trials(28, 200_000) >= 28
    assert trials(53, 400_000) == trials(53, 16_000_000) == trials(2, 10**9) == 0


@pytest.mark.parametrize(("slower", "asked"), [(room.SLACK, 1), (room.SLACK + 1, 0)])
def test_a_tiling_that_the_model_holds_for_far_slower_is_not_tried(slower: int, asked: int) -> None:
    case = Case(1, layers=1, rows=2)
    case.unpacked = set()
    case.fronts = (((MODE, (candidate(100), candidate(100 + slower))),),)
    first = case.judge(case.choice((0,)))
    assert first is not None
    case.asked = 0
    polish(case.shapes, case.fronts, first, case.judge)
    assert case.asked == asked


def test_tiles_with_a_small_rest_are_looked_at() -> None:
    # 31 rows in 4 tiles: at least 8, at most 10 rows each, which leaves 1; in 5 at most 7, 3.
    tiling = replace(TILING, order=("p",), tile={"p": 8})
    found = [one.tile["p"] for one in room._with_rests(shape(31), tiling)]
    assert found == [10, 7]
    assert not list(room._with_rests(shape(31), TILING))
