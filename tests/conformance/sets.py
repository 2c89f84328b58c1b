"""The fixed sets of conformance tests: which belong, and to which operator each counts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import yaml
from onnx import AttributeProto, GraphProto, TensorProto, numpy_helper

Array = np.ndarray
SetName = Literal["core", "wide", "full", "all", "converted", "operator"]
NODE_SETS: tuple[SetName, ...] = ("core", "wide", "full")
"""Each contains the one before it."""

STORED: dict[SetName, str] = {"converted": "pytorch-converted", "operator": "pytorch-operator"}
"""Sets that lie on disk in the onnx wheel, and their names there."""

LISTS = Path(__file__).with_name("operators.yaml")


Data = tuple[list[Array], list[Array]]


@dataclass(frozen=True)
class Case:
    """One test.

    Attributes:
        operator: the operator under test; for an ``_expanded`` one that which was expanded.
        expanded: whether the operator is written as its function body.
        data: pairs of input arrays and expected output arrays, in the graph's order.
        rtol, atol: tolerances that the suite sets.
    """

    name: str
    operator: str
    expanded: bool
    model: onnx.ModelProto
    data: tuple[Data, ...]
    rtol: float
    atol: float


@cache
def lists() -> dict[str, Any]:
    """The contents of ``operators.yaml``."""
    found: dict[str, Any] = yaml.safe_load(LISTS.read_text(encoding="utf-8"))
    return found


def operators(name: SetName) -> frozenset[str]:
    """The operators of a set, those of the smaller sets included."""
    upto = NODE_SETS[: NODE_SETS.index(name) + 1]
    return frozenset(op for part in upto for op in lists()[part].split())


@cache
def select(name: SetName) -> tuple[Case, ...]:
    """The tests of a set, in the order of their names."""
    if name in STORED:
        return _stored(STORED[name])
    cases = [c for c in node_cases() if name == "all" or operators(name) >= used(c.model)]
    return tuple(sorted(cases, key=lambda c: c.name))


@cache
def node_cases() -> tuple[Case, ...]:
    """Every node test with tensors of ordinary element types."""
    # Some generators overflow on purpose while they make their expected values.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        tests = [(t, t.model) for t in collect_testcases(None) if t.model and ordinary(t.model)]
    under = {t.name: _main_operator(model.graph) for t, model in tests}
    cases = []
    for test, model in tests:
        plain = re.sub(r"_expanded.*", "", test.name)
        operator = under.get(plain, under[test.name])
        data = tuple((_arrays(x), _arrays(y)) for x, y in test.data_sets or ())
        cases.append(
            Case(test.name, operator, plain != test.name, model, data, test.rtol, test.atol)
        )
    return tuple(cases)


def _arrays(values: Iterable[Any]) -> list[Array]:
    return [numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for v in values]


def used(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the operators in the model and its subgraphs."""
    return frozenset(node.op_type for graph in _graphs(model.graph) for node in graph.node)


def ordinary(model: onnx.ModelProto) -> bool:
    """Whether inputs, outputs and constants are tensors of the element types we count."""
    ports = [*model.graph.input, *model.graph.output]
    if any(not p.type.HasField("tensor_type") for p in ports):
        return False
    outside = {TensorProto.DataType.Value(t) for t in lists()["outside_types"].split()}
    kinds = {p.type.tensor_type.elem_type for p in ports}
    for graph in _graphs(model.graph):
        kinds |= {t.data_type for t in graph.initializer}
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR:
                    kinds.add(attribute.t.data_type)
                elif node.op_type == "Cast" and attribute.name == "to":
                    kinds.add(attribute.i)
    return not kinds & outside


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _main_operator(graph: GraphProto) -> str:
    name: str = graph.node[-1].op_type
    return name


def _stored(kind: str) -> tuple[Case, ...]:
    """Tests on disk, with model and data in memory."""
    from onnx.backend.test.loader import load_model_tests

    cases = []
    for test in sorted(load_model_tests(kind=kind), key=lambda t: t.name):
        folder = Path(test.model_dir or "")
        data = tuple(
            (_read(place, "input"), _read(place, "output"))
            for place in sorted(folder.glob("test_data_set*"))
        )
        operator = re.split(r"_|\d", re.sub(r"^test_(operator_)?", "", test.name))[0]
        model = onnx.load(folder / "model.onnx")
        cases.append(Case(test.name, operator, False, model, data, test.rtol, test.atol))
    return tuple(cases)


def _read(place: Path, side: str) -> list[Array]:
    count = len(list(place.glob(f"{side}_*.pb")))
    files = [place / f"{side}_{k}.pb" for k in range(count)]
    return _arrays([TensorProto.FromString(f.read_bytes()) for f in files])
