"""One mutated model file for a number."""

from __future__ import annotations

import random
from collections.abc import Sequence

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped, unused-ignore]

from tests.fuzz import fields, hostile, plausible

MAX_BYTES = 8 << 20
"""Larger files only cost time; what they hold that is odd fits into smaller ones."""


def mutated(seeds: Sequence[bytes], seed: int, case: int) -> bytes:
    """The bytes of case ``case``; the same for the same arguments."""
    pick = random.Random(f"{seed}:{case}")
    data = pick.choice(seeds)
    if pick.random() < 0.12:
        return _bytes(data, pick)
    model = onnx.ModelProto.FromString(data)
    if pick.random() < 0.55:
        for _ in range(pick.choice([1, 1, 2, 2, 3, 4])):
            pick.choice(plausible.MUTATIONS)(model, pick)
        return _serialised(model) or data
    donor = onnx.ModelProto.FromString(pick.choice(seeds))
    for _ in range(pick.choice([1, 1, 1, 1, 2, 2, 3, 6])):
        if pick.random() < 0.45:
            fields.mutate(model, pick, donor)
        else:
            graph = pick.choice(hostile.everywhere(model.graph))
            pick.choice(hostile.MUTATIONS)(graph, pick)
    changed = _serialised(model) or data
    return _bytes(changed, pick) if pick.random() < 0.05 else changed


def _serialised(model: onnx.ModelProto) -> bytes | None:
    """The bytes of a model, or None when it cannot be written or is too large."""
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError):  # nested too deeply, or text that is not UTF-8
        return None
    return data if len(data) <= MAX_BYTES else None


def _bytes(data: bytes, pick: random.Random) -> bytes:
    """Bits flipped, a piece cut out, repeated or replaced, the end missing, groups nested."""
    out = bytearray(data)
    choice = pick.randrange(6)
    if choice == 0 or not out:
        return bytes(out[: pick.randrange(len(out) + 1)])
    if choice == 1:
        # A field of a wire type that opens a group, many times over.
        at = pick.randrange(len(out))
        return bytes(out[:at]) + bytes([pick.choice([0x0B, 0x3A])]) * 20000 + bytes(out[at:])
    start = pick.randrange(len(out))
    stop = min(len(out), start + pick.choice([1, 4, 16, 200]))
    if choice == 2:
        del out[start:stop]
    elif choice == 3:
        out[start:start] = out[start:stop] * pick.choice([1, 2, 50])
    elif choice == 4:
        out[start:stop] = pick.randbytes(stop - start)
    else:
        for _ in range(pick.randrange(1, 9)):
            out[pick.randrange(len(out))] ^= 1 << pick.randrange(8)
    return bytes(out)
