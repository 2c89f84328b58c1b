"""The form and the operators of the int8 model: what the compiler takes, with the best ratio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import onnx

from dataflow.quantise import rules
from dataflow.quantise.search import AIM_DB, LARGE_BYTES, Search, Trial
from dataflow.quantise.tool import Feed, Form, Settings, first_line

Format = Literal["auto", "qoperator", "qdq"]
KeepFloat = Literal["auto", "none"]
"""Whether operators may stay in float where int8 costs too much."""

FORMS: tuple[Form, ...] = ("qoperator", "qdq")

CLOSE_DB = 0.5
"""What a model that runs in fewer cycles may be worse by."""


@dataclass(frozen=True)
class FloatNode:
    """A node of an int8 model that computes in floats.

    Attributes:
        name, operator: the node's.
        where: ``head`` or ``tail`` when the host runs it, else empty.
    """

    name: str
    operator: str
    where: str = ""


@dataclass(frozen=True)
class Judgement:
    """What the compiler says of an int8 model.

    Attributes:
        refusal: why it refuses it; empty when it takes it.
        floats: the nodes that compute in floats.
        cycles: an estimate of what it takes, comparable between forms of one network.
    """

    refusal: str
    floats: tuple[FloatNode, ...] = ()
    cycles: int = 0


Judge = Callable[[onnx.ModelProto], Judgement]


@dataclass(frozen=True, eq=False)
class Choice:
    """An int8 model, how it was made and what was found of it.

    Attributes:
        model: None when onnxruntime's quantiser does not make it; ``trial`` says why.
        judgement: None when nobody was asked.
    """

    form: Form
    trial: Trial
    model: onnx.ModelProto | None
    judgement: Judgement | None

    @property
    def accepted(self) -> bool:
        """Whether it can be used: made, and not refused."""
        refused = self.judgement is not None and self.judgement.refusal
        return self.model is not None and not refused


def choose(
    proto: onnx.ModelProto,
    samples: Sequence[Feed],
    plain: Settings,
    format: Format,
    keep_float: KeepFloat,
    judge: Judge | None,
) -> Choice:
    """The first choice, or with a judge the one with the best ratio of those that it takes.

    Args:
        proto: the prepared float model.
        samples: calibration data.
        plain: what its structure says shall be quantised.
        format: of the result; ``auto``: either.
        keep_float: ``none``: every operator with an int8 form but masks and phases, whatever the
            ratio.
        judge: says why the compiler refuses a model: this room does not see it.
    """
    found: list[Choice] = []
    for choice in _choices(proto, samples, plain, format, keep_float, judge):
        found.append(choice)
        # Quantising a large model takes long: what is good is not compared with all others.
        large = proto.ByteSize() > LARGE_BYTES and choice.trial.worst_db >= AIM_DB
        if judge is None or (large and choice.accepted):
            break
    return _best(found)


def _best(found: Sequence[Choice]) -> Choice:
    """The one with the best ratio; of those about as good the one that takes fewest cycles."""

    def rank(choice: Choice) -> tuple[bool, bool, float]:
        return choice.model is not None, choice.accepted, choice.trial.worst_db

    def cycles(choice: Choice) -> int:
        return 0 if choice.judgement is None else choice.judgement.cycles

    best = max(found, key=rank)
    made, accepted, worst = rank(best)
    close = [c for c in found if c is best or rank(c) >= (made, accepted, worst - CLOSE_DB)]
    return min(close, key=cycles)


def _choices(
    proto: onnx.ModelProto,
    samples: Sequence[Feed],
    plain: Settings,
    format: Format,
    keep_float: KeepFloat,
    judge: Judge | None,
) -> Iterator[Choice]:
    observed = None
    for form in FORMS if format == "auto" else (format,):
        search = Search(proto, samples, form, observed)
        observed = search.observed
        whole = replace(plain, operators=rules.quantised(form), left_float=rules.kept_float(proto))
        if keep_float == "none":
            yield _made(search, search.ranged(whole), judge)
            continue
        first = (
            plain
            if plain.operators == rules.PRODUCTS
            else replace(whole, left_float=plain.left_float)
        )
        found = _made(search, search.best(first), judge)
        yield found
        if judge is not None and not found.accepted:
            yield _made(search, search.ranged(whole), judge)


def _made(search: Search, trial: Trial, judge: Judge | None) -> Choice:
    try:
        model = search.quantised(trial.settings) if not trial.failure else None
    except Exception as error:  # onnxruntime's quantiser raises many types
        return Choice(search.format, replace(trial, failure=first_line(error)), None, None)
    judged = None if judge is None or model is None else judge(model)
    return Choice(search.format, trial, model, judged)
