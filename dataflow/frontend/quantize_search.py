"""Settings of the quantiser, chosen by the error that held-out samples show.

The plain settings stand wherever they are good enough. Where they are not, ranges are widened,
then only products are quantised, then the products that cost most are left in float.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from dataflow.errors import DataflowError
from dataflow.frontend.quantize_ranges import Observed, bounds, observe, shared_with_activation
from dataflow.frontend.quantize_rules import PRODUCTS
from dataflow.frontend.quantize_tool import (
    Array,
    Feed,
    Format,
    Range,
    Runner,
    Settings,
    first_line,
    run_tool,
)

GOOD_ENOUGH_DB = 24.0
"""Each held-out sample shall reach this: 20 dB is the aim, and a sample of few is no bound."""

POPULATIONS = (128, 4096)
"""How many samples widened ranges shall hold: a usual test set; heavy-tailed activations."""

SAFETY_DB = 3.0
"""What the wider ranges may cost: they hold in rare samples, of which few are held out."""

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

    def __init__(self, proto: onnx.ModelProto, samples: Sequence[Feed], format: Format) -> None:
        self.proto, self.samples, self.format = proto, samples, format
        self.observed: Observed = observe(proto, samples)
        self.bounds = bounds(proto)
        self.parts = min(FOLDS, len(samples))
        self.rounds = self.parts
        if proto.ByteSize() > LARGE_BYTES:
            self.parts, self.rounds = min(2, len(samples)), 1
        self._made: dict[Settings, Trial] = {}

    def best(self, plain: Settings) -> Trial:
        """The first settings that are good enough; when none is, the best of all."""
        first = self.trial(plain)
        if len(self.samples) == 1:  # nothing is held out, and one sample says nothing of spread
            wide = self.trial(replace(plain, population=POPULATIONS[0]))
            return wide if wide.worst_db >= min(first.worst_db, GOOD_ENOUGH_DB) else first
        if first.worst_db >= GOOD_ENOUGH_DB:
            return first
        trials = [first]
        kinds = [plain.operators]
        if plain.operators != PRODUCTS:
            kinds.append(PRODUCTS)
        for operators in kinds:
            for population in POPULATIONS:
                settings = replace(plain, operators=operators, population=population)
                trials.append(self.trial(settings))
            found = max(trials, key=_merit)
            if found.worst_db >= GOOD_ENOUGH_DB:
                return found
        for excluded in self._costly(found.settings):
            trials.append(self.trial(replace(found.settings, left_float=excluded)))
            if trials[-1].worst_db >= GOOD_ENOUGH_DB:
                return trials[-1]
        return max(trials, key=_merit)

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
        if settings.population is not None:
            ranges = self.observed.widened(list(chosen), settings.population, self.bounds)
        elif len(chosen) < len(self.samples):
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


def _merit(trial: Trial) -> tuple[float, int]:
    """Order of trials: error of the worst sample, where the widest ranges have an advance."""
    population = trial.settings.population or 0
    return trial.worst_db + SAFETY_DB * (population == max(POPULATIONS)), population


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


def require_made(trial: Trial, where: str) -> Trial:
    """``trial``, or DataflowError when the quantiser treated none of the settings."""
    if trial.failure:
        raise DataflowError(where, f"cannot be quantised: {trial.failure}", "check the model")
    return trial
