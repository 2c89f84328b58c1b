"""Random layers for tests of the mapper: geometry, operands and an epilogue, no constants."""

from __future__ import annotations

import random

from dataflow.layers.layer import Layer, Stationary, View
from tests.mapper.graphs import dense, micro


def random_array_layer(rng: random.Random) -> Layer:
    """A convolution, grouped, depthwise or plain, sometimes with a second operand."""
    kind = rng.choice(("plain", "plain", "grouped", "depthwise"))
    groups = 1 if kind == "plain" else rng.choice((2, 3, 5, 8, 20))
    c = 1 if kind == "depthwise" else rng.choice((1, 3, 4, 8, 12, 17))
    n = 1 if kind == "depthwise" else rng.choice((1, 2, 8, 9, 20))
    kr, ks = rng.choice((1, 2, 3, 5)), rng.choice((1, 3, 4))
    dr, ds = rng.choice((1, 1, 2)), rng.choice((1, 1, 2))
    sr, ss = rng.choice((1, 2, 3)), rng.choice((1, 2))
    pr, ps = rng.randrange(0, kr), rng.randrange(0, ks)
    y = rng.randrange(1, 12) + (kr - 1) * dr
    x = rng.randrange(1, 12) + (ks - 1) * ds
    p, q = (y + 2 * pr - (kr - 1) * dr - 1) // sr + 1, (x + 2 * ps - (ks - 1) * ds - 1) // ss + 1
    batch = rng.choice((1, 1, 1, 2, 3))
    channels = groups * n
    zero = rng.choice(((0,), (3,), tuple(range(channels))))
    second: View | None = rng.choice((None, dense("other", p, q, channels, batch)))
    return Layer(
        "layer",
        "array",
        ("layer",),
        batch,
        groups,
        p,
        q,
        n,
        dense("source", y, x, groups * c, batch),
        dense("out", p, q, channels, batch),
        micro(3 if second else 1),
        kr,
        ks,
        c,
        sr,
        ss,
        dr,
        ds,
        pr,
        ps,
        stationary=Stationary("w", zero, True),
        params=rng.choice((("scale",), ("bias", "scale"))),
        second=second,
        macs=batch * p * q * channels * c * kr * ks,
    )
