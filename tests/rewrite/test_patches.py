"""Einsums patch by patch: every value stays, each patch has small tensors of its own."""

from __future__ import annotations

import random

import pytest

from dataflow.errors import DataflowError
from dataflow.ir import Cascade
from dataflow.rewrite.patches import patches
from tests.rewrite.test_bands import chain, legal, points, same


@pytest.mark.parametrize("seed", range(8))
def test_a_chain_in_patches_makes_the_same_bits(seed: int) -> None:
    cascade = chain(seed)
    names = [e.name for e in cascade.einsums]
    rows, cols = cascade.tensors[cascade.einsums[-1].output.tensor].shape[-2:]
    whole = patches(cascade, names, 1, 1)  # rows that a stride leaves out are gone
    assert points(whole) <= points(cascade)
    for many in {(1, 1), (2, 1), (1, min(2, cols)), (min(3, rows), min(2, cols)), (rows, cols)}:
        cut = patches(cascade, names, *many)
        assert same(cascade, cut, seed)
        assert points(cut) >= points(whole)  # kernels reach into neighbours


def test_only_a_patch_of_each_tensor_is_there() -> None:
    cascade = chain(1)
    cut = patches(cascade, [e.name for e in cascade.einsums], 2, 2)
    made = {e.output.tensor for e in cascade.einsums} - set(cascade.outputs)
    assert not made & set(cut.tensors)
    seen = 0
    for tensor in cut.tensors.values():
        if "_patch" in tensor.name:
            whole = cascade.tensors[tensor.name.split("_patch")[0]]
            assert tensor.shape[-2] < whole.shape[-2]
            seen += tensor.shape[-1] < whole.shape[-1]
    assert seen > 0


def test_random_networks_in_patches_make_the_same_bits() -> None:
    made = 0
    for seed in range(14):
        cascade, rng = legal(seed), random.Random(seed)
        for _ in range(10):
            first = rng.randrange(len(cascade.einsums))
            behind = rng.randint(first + 1, len(cascade.einsums))
            names = [e.name for e in cascade.einsums[first:behind]]
            try:
                cut = patches(cascade, names, rng.randint(1, 3), rng.randint(1, 3))
            except DataflowError:
                continue
            made += 1
            assert same(cascade, cut, seed)
    assert made >= 30


def wrong(cascade: Cascade, names: list[str], rows: int, cols: int) -> str:
    """The message."""
    with pytest.raises(DataflowError) as caught:
        patches(cascade, names, rows, cols)
    return str(caught.value)


def test_stages_that_cannot_be_cut_are_told() -> None:
    cascade = chain(0)
    names = [e.name for e in cascade.einsums]
    rows, cols = cascade.tensors[cascade.einsums[-1].output.tensor].shape[-2:]
    assert wrong(cascade, [names[0], names[3]], 2, 1) == (
        "patches: the Einsums are not neighbours; name Einsums that follow each other"
    )
    assert wrong(cascade, names, rows + 1, 1) == (
        f"patches: {rows + 1} x 1 patches of {rows} x {cols} elements; use fewer, at least one"
    )
    assert wrong(cascade, names[:6], 2, 2) == (
        "patches: y1 is read behind them too; end where one tensor is handed on"
    )
