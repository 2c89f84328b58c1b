"""Settings of the quantiser, chosen by the error that held-out samples show.

The plain settings stand wherever no held-out sample clips. Else the ranges are widened when that is
better; where it is not enough, only products are quantised, and then the products that cost most
are left in float.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from dataflow.errors import DataflowError
from dataflow.quantise.ranges import Observed, bounds, observe, shared_with_activation
from dataflow.quantise.rules import PRODUCTS
from dataflow.quantise.tool import (
    Array,
    Feed,
    Form,
    Range,
    Runner,
    Settings,
    first_line,
    run_tool,
)

PLAIN_DB = 26.0
"""What each held-out sample shall reach for the plain settings to stand unquestioned. 20 dB is the
aim; samples that clip badly are rare, so that few held-out ones may miss them."""

SPREAD_DB = 4.0
"""How far the worst sample may then be below all together: more is a sign of clipping."""

CALIBRATION = "calibration"
"""Where errors of the samples point to."""

AIM_DB = 20.0
"""What each held-out sample shall reach for the search to end."""

FOLDS = 4
"""Parts of the samples; each is held out once."""

LARGE_BYTES = 16 << 20
"""Above this size one half is held out, once: quantising takes seconds."""

JUDGED_SAMPLES = 16
"""Most samples of a part that are judged."""

GROUPS = 24
"""Most groups of products whose cost is measured."""


@dataclass(frozen=True)
class Trial:
    """Settings and what they cost on held-out samples.

    Attributes:
        settings: what was tried.
        snr_db: signal-to-noise ratio over all judged samples, of the worst output.
        worst_db: the same of the worst sample; -inf when onnxruntime refuses the result.
        failure: why it was refused, or empty.
    """

    settings: Settings
    snr_db: float
    worst_db: float
    failure: str = ""


class Search:
    """One float model with its samples; makes and judges int8 forms of it."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        samples: Sequence[Feed],
        format: Form,
        observed: Observed | None = None,
    ) -> None:
        self.proto, self.samples, self.format = proto, samples, format
        self.observed: Observed = observe(proto, samples) if observed is None else observed
        self.bounds = bounds(proto)
        self.parts = min(FOLDS, len(samples))
        self.rounds = self.parts
        if proto.ByteSize() > LARGE_BYTES:
            self.parts, self.rounds = min(2, len(samples)), 1
        self._made: dict[Settings, Trial] = {}

    def best(self, plain: Settings) -> Trial:
        """The first settings that are good enough; when none is, the best of all."""
        wide = replace(plain, widened=True)
        if len(self.samples) == 1:  # nothing is held out, and one sample says nothing of spread
            found = self.trial(wide)
            return found if found.worst_db >= AIM_DB else _best(self.trial(plain), found)
        found = self.trial(plain)
        if found.worst_db >= max(PLAIN_DB, found.snr_db - SPREAD_DB):
            return found
        other = self.trial(wide)
        if other.snr_db >= found.snr_db:
            found = other
        elif found.worst_db < AIM_DB:
            found = _best(found, other)
        if found.worst_db < AIM_DB and plain.operators != PRODUCTS:
            found = _best(found, self.trial(replace(wide, operators=PRODUCTS)))
        if found.worst_db < AIM_DB:
            base = replace(found.settings, widened=True)
            for left in self._costly(base):
                found = _best(found, self.trial(replace(base, left_float=left)))
                if found.worst_db >= AIM_DB:
                    break
        return found

    def ranged(self, plain: Settings) -> Trial:
        """The plain settings with the ranges that are better, all operators in int8."""
        return _best(self.trial(plain), self.trial(replace(plain, widened=True)))

    def quantised(self, settings: Settings) -> onnx.ModelProto:
        """The model with ranges from all samples. Raises whatever the tool raises."""
        return self._make(settings, range(len(self.samples)))

    def trial(self, settings: Settings) -> Trial:
        """Quantises with a part of the samples held out, judges on these; each part in turn."""
        if settings in self._made:
            return self._made[settings]
        count = len(self.samples)
        errors: list[tuple[Array, Array]] = []
        try:
            for part in range(self.rounds):
                held = list(range(part, count, self.parts))
                rest = [k for k in range(count) if k not in held] or held
                errors += self._judge(self._make(settings, rest), held[:JUDGED_SAMPLES])
            made = Trial(settings, *_ratios(errors))
        except Exception as error:  # onnxruntime's quantiser raises many types
            made = Trial(settings, -math.inf, -math.inf, first_line(error))
        self._made[settings] = made
        return made

    def _make(self, settings: Settings, chosen: Sequence[int]) -> onnx.ModelProto:
        ranges: Mapping[str, Range] | None = None
        if settings.widened:
            ranges = self.observed.widened(list(chosen), self.bounds)
        elif len(chosen) < len(self.samples) or self.observed.trimmed:
            ranges = self.observed.seen(list(chosen))
        if ranges is not None:
            ranges = shared_with_activation(self.proto, settings.operators, ranges)
        copy = onnx.ModelProto()
        copy.CopyFrom(self.proto)
        samples = [self.samples[k] for k in chosen]
        return run_tool(copy, samples, settings, self.format, ranges)

    def _judge(self, model: onnx.ModelProto, held: Sequence[int]) -> list[tuple[Array, Array]]:
        """Signal and noise power of each float output, for each held-out sample."""
        runner = Runner(model)
        found = []
        for k in held:
            got = runner(self.samples[k])
            signal, noise = [], []
            for name, expected in self.observed.outputs[k].items():
                if expected.dtype.kind != "f":
                    continue
                finite = np.isfinite(expected)
                wanted = expected[finite].astype(np.float64)
                signal.append(float((wanted**2).sum()))
                noise.append(float(((wanted - got[name][finite]) ** 2).sum()))
            found.append((np.array(signal), np.array(noise)))
        return found

    def _costly(self, settings: Settings) -> list[frozenset[str]]:
        """Sets of products to leave in float, growing: those whose quantisation alone costs most
        first. The products are judged in at most GROUPS neighbouring groups."""
        names = [n.name for n in self.proto.graph.node if n.op_type in PRODUCTS]
        names = [n for n in names if n not in settings.left_float]
        if len(names) < 2:
            return []
        size = math.ceil(len(names) / GROUPS)
        groups = [names[k : k + size] for k in range(0, len(names), size)]
        cost = []
        for group in groups:
            others = frozenset(names) - set(group)
            alone = replace(settings, operators=PRODUCTS, left_float=settings.left_float | others)
            cost.append(self.trial(alone).snr_db)
        order = sorted(range(len(groups)), key=lambda k: (cost[k], k))
        made, count = [], 1
        while count < len(groups):
            left = {name for k in order[:count] for name in groups[k]}
            made.append(settings.left_float | left)
            count *= 2
        return made


def _best(one: Trial, other: Trial) -> Trial:
    """The trial with the better worst sample; the first of equals."""
    return other if other.worst_db > one.worst_db else one


def _ratios(errors: Sequence[tuple[Array, Array]]) -> tuple[float, float]:
    """Signal-to-noise ratio in dB: of all samples together, and of the worst; worst output."""
    signal = np.array([s for s, _ in errors])
    noise = np.array([n for _, n in errors])
    if not signal.size:
        return math.inf, math.inf
    together = min(map(decibel, signal.sum(axis=0), noise.sum(axis=0)))
    return together, min(map(decibel, signal.reshape(-1), noise.reshape(-1)))


def decibel(signal: float, noise: float) -> float:
    """Signal-to-noise ratio of two powers; infinite without noise, -inf when not a number."""
    if not math.isfinite(noise):
        return -math.inf
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def not_made(trial: Trial, observed: Observed, where: str) -> DataflowError:
    """Why the quantiser treated none of the settings: the samples, or the model."""
    if observed.endless:
        return DataflowError(
            CALIBRATION,
            f"makes {observed.endless[0]!r} infinite or not a number, which has no int8 scale",
            "use samples on which every tensor is finite, or bound what it is computed from",
        )
    return DataflowError(where, f"cannot be quantised: {trial.failure}", "check the model")
