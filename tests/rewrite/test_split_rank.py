"""Parts of a rank folded apart and merged: the log-sum-exp merge, and its general form."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.analysis import count_passes, footprint
from dataflow.errors import DataflowError
from dataflow.ir import text
from dataflow.rewrite import split_rank
from tests.rewrite.corpus import CORPUS, FIBRES, STILL_TWICE, draw, run, sized, wide

SLOW = pytest.mark.slow
TILES = [
    1,
    4,
    5,
    pytest.param(23, marks=SLOW),
    pytest.param(24, marks=SLOW),
    pytest.param(None, marks=SLOW),
]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", CORPUS)
def test_the_result_is_the_same(name: str, tile: int | None) -> None:
    cascade = wide(CORPUS[name])
    report = split_rank(cascade, tile)
    assert len(report.groups) == 1 and not report.cascade.iterations
    inputs = draw(cascade, 1)
    expected, found = run(cascade, inputs), run(report.cascade, inputs)
    for output, value in expected.items():
        np.testing.assert_allclose(found[output], value, rtol=1e-12, atol=1e-12)


def test_decode_is_the_localmax_cascade() -> None:
    lines = CORPUS["three_pass"].replace("P: 3", "P: 1")
    body = text.dumps(split_rank(text.loads(lines), 6).cascade).split("expressions: |")[1]
    assert (
        body
        == """
    BQK[m1, m0, p] = Q[e, 0] * K[e, m0 + m1*6] :: add(e)
    LGM[m1] = BQK[m1, m0, 0] :: max(m0)
    CGM[m1] = max(LGM[m1], -3.4028235e+38)
    TGM = CGM[m1] :: max(m1)
    ESD[m1, m0] = sub_exp(BQK[m1, m0, 0], CGM[m1])
    LSD[m1] = ESD[m1, m0] :: add(m0)
    PSD[m1] = sub_exp(CGM[m1], TGM)
    TSD = LSD[m1] * PSD[m1] :: add(m1)
    LAV[m1, f] = ESD[m1, m0] * V[f, m0 + m1*6] :: add(m0)
    TAV[f] = LAV[m1, f] * PSD[m1] :: add(m1)
    AV[f, p] = TAV[f] / TSD
"""
    )


@pytest.mark.parametrize("name", CORPUS)
def test_one_pass_but_a_footprint_that_grows(name: str) -> None:
    cascade = text.loads(CORPUS[name])
    tensor = next(t for t in ("K", "X", "T") if t in cascade.inputs)
    rank = "M" if tensor == "K" else FIBRES.get(name, "C")
    after = split_rank(cascade, 3).cascade
    passes = count_passes(after, tensor, (rank,)).passes
    assert passes == STILL_TWICE.get(name, 1)
    # Sums that need no correction are merged as they come.
    separable = name in ("naive softmax", "RMS norm, then a product", "cosine similarity")
    separable |= name in ("shares of a sum", "largest deviation")
    assert footprint(after, tensor, (rank,)).grows == (not separable)


def test_defaults_and_bad_tiles() -> None:
    assert [(g.tile, g.tiles) for g in split_rank(text.loads(CORPUS["three_pass"])).groups] == [
        (3, 8)
    ]
    prime = split_rank(text.loads(sized("three_pass", 197)))
    assert [(g.tile, g.tiles, g.last) for g in prime.groups] == [(22, 9, 21)]
    with pytest.raises(DataflowError, match="--tile: -1 is no tile size"):
        split_rank(text.loads(CORPUS["three_pass"]), -1)
