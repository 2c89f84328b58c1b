"""Einsums on bands of rows: every value stays, what lies between them are bands."""

from __future__ import annotations

import random
from math import prod

import numpy as np
import pytest

from dataflow import frontend, rewrite
from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.ir import Cascade, verify
from dataflow.machine import machine_of
from dataflow.rewrite.bands import band_rows
from tests.bench.crowded import Chain
from tests.cosim.random_networks import random_network


def values(cascade: Cascade, seed: int) -> dict[str, np.ndarray]:
    """Seeded inputs by label."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in cascade.entering:
        kind = tensor.dtype.numpy
        if np.issubdtype(kind, np.floating):
            found[tensor.label or tensor.name] = rng.normal(size=tensor.shape).astype(kind)
        else:
            low = -100 if tensor.dtype.signed else 0
            found[tensor.label or tensor.name] = rng.integers(low, 100, tensor.shape).astype(kind)
    return found


def same(one: Cascade, other: Cascade, seed: int) -> bool:
    """Whether two networks make the same bits of the same inputs."""
    verify(other)
    inputs = values(one, seed)
    first, second = evaluate(one, inputs), evaluate(other, inputs)
    return all(np.array_equal(first[name], second[name]) for name in first)


def legal(seed: int) -> Cascade:
    """A random quantised network, ready for the machine."""
    model = random_network(seed, machine_of(load_architecture("edge8")))
    return rewrite.legalise(frontend.load_model(model, {}))


def some_bands(cascade: Cascade, rng: random.Random) -> Cascade | None:
    """The network with some of its Einsums on some bands; None where these cannot be cut."""
    first = rng.randrange(len(cascade.einsums))
    behind = rng.randint(first + 1, len(cascade.einsums))
    names = [e.name for e in cascade.einsums[first:behind]]
    try:
        return band_rows(cascade, names, rng.randint(2, 5))
    except DataflowError:
        return None


def chain(seed: int) -> Cascade:
    """Convolutions with windows, strides and a sum of two results, on codes."""
    rng = random.Random(seed)
    net = Chain("chain", (4, rng.randint(13, 24), rng.randint(3, 9)), seed)
    net.conv(8, rng.choice((1, 3, 5)))
    kept = net.conv(8, 3, 1, rng.choice((1, 8)))
    net.conv(8, rng.choice((1, 3)))
    net.add(kept)
    net.conv(4, rng.choice((1, 2, 3)), rng.choice((1, 2)))
    net.conv(4, 3, rng.choice((1, 3)))
    return rewrite.legalise(frontend.load_model(net.model(), {}))


@pytest.mark.parametrize("seed", range(8))
def test_a_chain_in_bands_makes_the_same_bits_and_computes_nothing_twice(seed: int) -> None:
    cascade = chain(seed)
    names = [e.name for e in cascade.einsums]
    rows = cascade.tensors[cascade.einsums[-1].output.tensor].shape[-2]
    for bands in (1, 2, [1] * rows, [rows - 1, 1]):
        banded = band_rows(cascade, names, bands)
        assert same(cascade, banded, seed)
        again = any("_again" in e.name for e in banded.einsums)
        assert again or bands in (1, [rows - 1, 1])  # where padding begins nothing more is needed
        assert not again or bands != 1
        assert points(banded) <= points(cascade)


def points(cascade: Cascade) -> int:
    """Iteration points of all Einsums but copies."""
    return sum(prod(cascade.sizes(e).values()) for e in cascade.einsums if "_again" not in e.name)


def test_only_a_band_of_each_tensor_is_there() -> None:
    cascade = chain(1)
    banded = band_rows(cascade, [e.name for e in cascade.einsums], 2)
    made = {e.output.tensor for e in cascade.einsums} - set(cascade.outputs)
    assert not made & set(banded.tensors)
    for tensor in banded.tensors.values():
        if "_band" in tensor.name:
            whole = cascade.tensors[tensor.name.split("_band")[0]]
            assert tensor.shape[-2] < whole.shape[-2]


def test_random_networks_in_bands_make_the_same_bits() -> None:
    made = 0
    for seed in range(14):
        cascade, rng = legal(seed), random.Random(seed)
        for _ in range(10):
            banded = some_bands(cascade, rng)
            if banded is not None:
                made += 1
                assert same(cascade, banded, seed)
    assert made >= 30


def wrong(cascade: Cascade, names: list[str], bands: int | list[int]) -> str:
    """The message."""
    with pytest.raises(DataflowError) as caught:
        band_rows(cascade, names, bands)
    return str(caught.value)


def test_stages_that_cannot_be_cut_are_told() -> None:
    cascade = chain(0)
    names = [e.name for e in cascade.einsums]
    assert wrong(cascade, [names[0], names[3]], 2) == (
        "bands: the Einsums are not neighbours; name Einsums that follow each other"
    )
    rows = cascade.tensors[cascade.einsums[-1].output.tensor].shape[-2]
    assert wrong(cascade, names, rows + 1) == (
        f"bands: {rows + 1} bands of {rows} rows; use 1 to {rows}"
    )
    assert wrong(cascade, names, [rows, 1]) == (
        f"bands: bands of {rows}, 1 rows; use bands of {rows} rows together"
    )
    assert wrong(cascade, names[:6], 2) == (
        "bands: y1 is read by them and behind them; take all its readers in"
    )


@pytest.mark.slow
def test_many_random_networks_in_bands_make_the_same_bits() -> None:
    made = 0
    for seed in range(14, 300):
        cascade, rng = legal(seed), random.Random(seed)
        for _ in range(10):
            banded = some_bands(cascade, rng)
            if banded is not None:
                made += 1
                assert same(cascade, banded, seed)
    assert made >= 500
