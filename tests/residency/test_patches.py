"""Patches and lines: every element is made before it is read, none of the last result twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import pytest

from dataflow import frontend
from dataflow.api import load
from dataflow.errors import DataflowError
from dataflow.ir import Cascade
from dataflow.ir.text import loads
from dataflow.mapping import Operand, Work
from dataflow.residency import Array, Machine, best_lines, document, plan, schedule_of
from dataflow.residency.network import steps_of
from dataflow.residency.order import peak
from dataflow.residency.patches import Patches, macs
from tests.residency.judge import judge

ARRAY = Array(4, 4, 4)


def layers() -> Cascade:
    """Three convolutions of 12x12 images, the second with a stride, and a residual."""
    return loads(
        """einsum:
  name: layers
  shapes: {C: 2, K: 3, N: 2, P: 12, Q: 12, R: 3, S: 3, U: 6, V: 6, T: 3, W: 3, L: 2}
  declaration: {X: [C, P, Q], F: [K, C, R, S], G: [N, K, T, W], H: [L, N, R, S]}
  expressions: |
    A[k, p, q] = X[c, p + r - 1, q + s - 1] * F[k, c, r, s]
    B[k, p, q] = max(A[k, p, q], 0)
    D[n, u, v] = B[k, u*2 + t - 1, v*2 + w - 1] * G[n, k, t, w]
    E[l, u, v] = D[n, u + r - 1, v + s - 1] * H[l, n, r, s]
    Z[l, u, v] = E[l, u, v] + D[l, u, v]
"""
    )


def index(operand: Operand, point: Mapping[str, int]) -> tuple[int, ...] | None:
    """The element that an access touches at a point; None outside the tensor."""
    found = []
    for dim in operand.dims:
        at = dim.offset + sum(coefficient * point[v] for v, coefficient in dim.terms)
        if not 0 <= at < dim.extent:
            return None
        found.append(at)
    return tuple(found)


def points(work: Work) -> Iterator[dict[str, int]]:
    for values in product(*(range(n) for n in work.sizes.values())):
        yield dict(zip(work.sizes, values, strict=True))


def walk(cascade: Cascade, patches: Patches | None) -> tuple[int, dict[str, int]]:
    """Products that are added up, and how often elements of each tensor are made; what is read has
    to be made before, and to be complete."""
    whole = {o.output.tensor: o for works in steps_of(cascade) for o in works}
    made: dict[str, set[tuple[int, ...]]] = {}
    count: dict[str, int] = {}
    products = 0
    for works in steps_of(cascade, patches):
        for work in works:
            new: dict[tuple[int, ...], int] = {}
            for point in points(work):
                out = index(work.output, point)
                assert out is not None
                reads = [(o.tensor, index(o, point)) for o in work.inputs]
                for tensor, element in reads:
                    if tensor.partition("@")[0] in whole and element is not None:
                        assert element in made[tensor], f"{work.name} reads {tensor}{element}"
                new[out] = new.get(out, 0) + 1
            base = work.output.tensor.partition("@")[0]
            assert len(set(new.values())) == 1
            per = whole[base].points // len(
                {index(whole[base].output, p) for p in points(whole[base])}
            )
            assert set(new.values()) == {per}, "each element is reduced whole"
            products += sum(new.values()) if work.contraction else 0
            made.setdefault(work.output.tensor, set()).update(new)
            count[base] = count.get(base, 0) + len(new)
    return products, count


@pytest.mark.parametrize(
    "patches",
    [
        Patches(3, 2, 2),
        Patches(3, 3, 3),
        Patches(2, 3, 2),
        Patches(3, 6, 1, lines=True),
        Patches(3, 2, 1, lines=True),
        Patches(2, 4, 1, lines=True),
    ],
)
def test_all_is_made_before_it_is_read(patches: Patches) -> None:
    cascade = layers()
    plain, once = walk(cascade, None)
    products, count = walk(cascade, patches)
    assert products == macs(steps_of(cascade, patches))
    assert count["Z"] == once["Z"], "the result is made once"
    if patches.lines:
        assert (products, count) == (plain, once)
    else:
        assert products > plain
    small, large = schedule_of(cascade, ARRAY, 8, patches), schedule_of(cascade, ARRAY, 8)
    assert peak(small) < peak(large)
    found = plan(small, Machine(512, 1, 64))
    assert judge(document(found)) == found.cycles


def test_lines_are_found_where_they_pay() -> None:
    cascade = layers()
    wide, machine = Array(64, 64, 64), Machine(448, 1, 64)
    found = best_lines(cascade, wide, 8, machine)
    plain = plan(schedule_of(cascade, wide, 8), machine)
    assert found.lines is not None and found.lines.lines
    assert judge(document(found.plan)) == found.plan.cycles < plain.cycles
    large = best_lines(cascade, Array(1, 1, 1), 8, Machine(1 << 20, 64))
    assert large.lines is None and large.plan.cycles == large.plan.schedule.cycles


def test_one_patch_is_the_whole() -> None:
    cascade = layers()
    assert peak(schedule_of(cascade, ARRAY, 8, Patches(3, 1, 1))) == peak(
        schedule_of(cascade, ARRAY, 8)
    )


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        (Patches(0, 1), "0 steps; use 1 to 3"),
        (Patches(4, 1), "4 steps; use 1 to 3"),
        (Patches(3, 7, 1), "7 x 1 patches of 6 x 6 elements"),
        (Patches(3, 0, 1), "0 x 1 patches"),
    ],
)
def test_patches_that_do_not_suit_are_refused(patches: Patches, message: str) -> None:
    with pytest.raises(DataflowError, match=message):
        schedule_of(layers(), ARRAY, 8, patches)


def test_two_results_are_refused() -> None:
    cascade = loads(
        """einsum:
  name: two
  shapes: {P: 8, Q: 8, K: 3}
  declaration: {X: [P, Q], F: [K]}
  expressions: |
    A[p, q] = X[p + k, q] * F[k]
    B[p] = A[p, q]
    C[p, q] = A[p, q] * B[p]
    D[p, q] = C[p, q] * A[p, q]
"""
    )
    with pytest.raises(DataflowError, match="hand on"):
        schedule_of(cascade, ARRAY, 8, Patches(2, 2))


@pytest.mark.slow
def test_the_first_stage_of_mobilenet_v2_takes_a_quarter(tmp_path: Path) -> None:
    spec = "tests/bench/networks.py:mobilenet_v2"
    cascade = load(frontend.export(spec, tmp_path / "m.onnx"))
    whole = schedule_of(cascade, ARRAY, 8)
    plain = macs(steps_of(cascade))
    expected = {
        Patches(11, 4, 4): (326_144, 0.0928),
        Patches(18, 28, lines=True): (244_608, 0.0),
    }
    assert peak(whole) == 1_505_280
    for patches, (bytes_, more) in expected.items():
        assert peak(schedule_of(cascade, ARRAY, 8, patches)) == bytes_ <= 0.25 * peak(whole)
        assert macs(steps_of(cascade, patches)) / plain - 1 == pytest.approx(more, abs=5e-5)
