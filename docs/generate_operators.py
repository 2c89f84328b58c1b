"""Writes docs/operators.md, the table of all operators: ``python -m docs.generate_operators``.

Every row is measured: the lowered form is that of the smallest conformance test of the operator
(or of a model in `operator_examples`), its exactness follows from the primitives in it, and the
counts are of the ONNX conformance suite run through the importer and the evaluator.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from dataflow import api
from dataflow.decide.rows import node_rows
from dataflow.decide.units import Placed
from dataflow.errors import DataflowError
from dataflow.frontend.importer import LOWERINGS, Imported, import_model
from dataflow.frontend.onnx.load_old import OLD_DOMAIN
from dataflow.frontend.operators import GENERAL
from dataflow.ir.cascade import Cascade, Einsum
from dataflow.ir.expr import Access, Call, Expr
from dataflow.ir.ops import OPS
from dataflow.ir.printing import format_einsum
from dataflow.ir.verify import expr_type
from docs.operator_examples import examples
from tests.conformance.backend import with_constants
from tests.conformance.run import Result, run_case
from tests.conformance.sets import NODE_SETS, select

Key = tuple[str, str]
"""Domain, empty for that of the standard, and name of an operator."""

TARGET = Path(__file__).with_name("operators.md")
MOST_STATEMENTS = 6
MOST_CHARACTERS = 130

HEAD = """\
# Operators

Every ONNX operator that the importer knows. Written by `python -m docs.generate_operators`; a test
keeps it up to date.

- **Lowered form**: the Einsums of a small example, in the text form of a Cascade.
  `Y[b] = X[b, c] :: add(c)` reduces over `c`; `{...}` inside an index is an index that depends on
  data; `[t]` in front marks an Einsum inside a loop over `t`. A view changes how a tensor is read
  and does no work.
- **Exactness**: *to the bit* means that every step has one result. *Sum in any order* is a float
  reduction whose order `legalise` fixes later. Named functions (`exp`, ...) are those of the host's
  mathematics library until their algorithm is chosen.
- **Unit**: where `compile` runs the example when its float inputs and outputs are 8-bit codes.
  Empty: it does no work, or the machine has no form of it yet.
- **Tests**: passed of all tests of the ONNX conformance suite for this operator with tensors of
  ordinary element types; after the comma those in which it is written as its function body.

"""


@dataclass(frozen=True)
class Row:
    """One operator of the table; the fields are its cells."""

    name: str
    lowered: str
    exactness: str
    unit: str
    tests: str


def main() -> int:
    """Writes the table."""
    TARGET.write_text(document(), encoding="utf-8")
    return 0


def document() -> str:
    """The text of docs/operators.md."""
    results = [run_case(c) for c in select("all")]
    tests: dict[Key, list[Result]] = {}
    for r in results:
        tests.setdefault(_key(r), []).append(r)
    lowered = {key for key in {*LOWERINGS, *GENERAL} if key[0] != OLD_DOMAIN}
    known = lowered | {key for key, rs in tests.items() if any(not r.failure for r in rs)}
    rows = [operator_row(key, tests.get(key, []), key in lowered) for key in sorted(known)]
    missing = {key: rs for key, rs in tests.items() if key not in known}
    return HEAD + summary(results) + table(rows) + refused(missing)


def _key(result: Result) -> Key:
    """Domain and name of the operator that a test is of."""
    domains = {n.op_type: n.domain for n in result.case.model.graph.node}
    domain = domains.get(result.case.operator, "ai.onnx.preview" if _preview(result) else "")
    return "" if domain == "ai.onnx" else domain, result.case.operator


def _preview(result: Result) -> bool:
    """Whether an expanded test is of an operator that only the preview domain has."""
    return not onnx.defs.has(result.case.operator)


def operator_row(key: Key, results: list[Result], lowered: bool) -> Row:
    """The row of an operator: its best test as example, else a model of `operator_examples`."""
    passed = [r for r in results if not r.failure]
    plain = [r for r in passed if not r.case.expanded]
    found = [example for r in plain or passed if (example := example_of(r)) is not None]
    best = min(found, key=weight, default=None)
    model = examples().get(key)
    if model is not None and (best is None or not best.cascade.graph_inputs):
        best = Example(model, import_model(model))
    return row(".".join(key).lstrip("."), best, counts(results), lowered)


@dataclass(frozen=True)
class Example:
    """A small model and its import."""

    model: onnx.ModelProto
    imported: Imported

    @property
    def cascade(self) -> Cascade:
        return self.imported.cascade


def example_of(result: Result) -> Example | None:
    """The model of a test, its bound inputs as constants."""
    case = result.case
    feed = dict(zip([p.name for p in case.model.graph.input], case.data[0][0], strict=False))
    model = with_constants(case.model, {n: feed[n] for n in result.bound})
    try:
        return Example(model, import_model(model))
    except DataflowError:
        return None


def weight(example: Example) -> tuple[bool, bool, bool, int, bool, int]:
    """Sorts examples: those that are not folded, of ordinary types, that compute, short ones."""
    cascade = example.cascade
    copies = all(isinstance(e.expr, Access) and e.reduction is None for e in cascade.einsums)
    text = sum(len(format_einsum(e)) for e in cascade.einsums)
    odd = any(str(t.dtype) in ("float16", "float64") for t in cascade.tensors.values())
    constant = not cascade.graph_inputs
    return constant, odd, copies, len(cascade.einsums), bool(cascade.host), text


def row(name: str, example: Example | None, tests: str, lowered: bool) -> Row:
    """A row from an example, which may be missing."""
    if example is None:
        return Row(name, "", "", "", tests)
    einsums = example.cascade.einsums
    host = sorted({o.op for o in example.cascade.host})
    shown = [cell(e) for e in einsums[:MOST_STATEMENTS]] + [f"host: {op}" for op in host]
    if len(einsums) > MOST_STATEMENTS:
        shown.append(f"and {len(einsums) - MOST_STATEMENTS} more")
    if not example.cascade.graph_inputs:
        shown = ["constant"]
    elif is_view(example):
        shown.insert(0, "view:")
    if not lowered and example.cascade.graph_inputs:
        shown.insert(0, "function body:")
    return Row(
        name, "<br>".join(shown), exactness(example.cascade), " + ".join(places(example)), tests
    )


def cell(einsum: Einsum) -> str:
    """An Einsum as code, shortened in the middle when it is long."""
    text = format_einsum(einsum)
    if einsum.iterates:
        text = f"[{', '.join(einsum.iterates)}] {text}"
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return f"`{text}`"


def exactness(cascade: Cascade) -> str:
    """What the primitives of an example leave open."""
    functions: set[str] = set()
    ordered = True
    for einsum in cascade.einsums:
        functions |= {op for op in calls(einsum.expr) if op in OPS and not OPS[op].exact}
        reduction = einsum.reduction
        if reduction is not None and reduction.op in ("add", "mul"):
            floats = expr_type(cascade.tensors, einsum.expr).is_float
            ordered = ordered and not (floats and reduction.order == "any")
    left_open = ([] if ordered else ["sum in any order"]) + sorted(functions)
    return ", ".join(left_open) or "to the bit"


def calls(expr: Expr) -> set[str]:
    """Names of the primitives in an expression."""
    if isinstance(expr, Call):
        return {expr.op}.union(*(calls(a) for a in expr.args))
    if isinstance(expr, Access):
        return set().union(*(calls(e) for _, e in expr.indirect))
    return set()


def places(example: Example) -> list[str]:
    """Where the example runs, as `dataflow check` says; empty when it does no work."""
    try:
        rows = api.check(between_codes(example.model)).nodes
    except DataflowError:
        return []
    own = {node.name for node in example.imported.graph.nodes}
    return sorted({unit for row in rows if row.name in own for unit in row.runs} - {"none"})


def between_codes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a quantiser and a dequantiser at each float input and output."""
    version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if version < 13:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    held = {t.name for t in graph.initializer}
    parameters = [("codes_s", np.float32(0.05)), ("codes_z", np.int8(3))]
    first: list[onnx.NodeProto] = []
    for port in (p for p in graph.input if p.name not in held and _float(p)):
        for node in graph.node:
            for k, name in enumerate(node.input):
                node.input[k] = f"{name}_coded" if name == port.name else name
        first += _pair(port.name, f"{port.name}_coded")
    last: list[onnx.NodeProto] = []
    for port in (p for p in graph.output if _float(p)):
        last += _pair(port.name, f"{port.name}_coded")
        port.name = f"{port.name}_coded"
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in (*first, *graph.node, *last)]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in parameters)
    return made


def _float(port: onnx.ValueInfoProto) -> bool:
    return bool(port.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)


def _pair(source: str, result: str) -> list[onnx.NodeProto]:
    names = ["codes_s", "codes_z"]
    return [
        onnx.helper.make_node("QuantizeLinear", [source, *names], [f"{result}_q"]),
        onnx.helper.make_node("DequantizeLinear", [f"{result}_q", *names], [result]),
    ]


def is_view(example: Example) -> bool:
    """Whether its Einsums are copies of what it only reads in another way."""
    found = node_rows(example.imported, Placed({}, {}))
    return not any(row.how in ("einsums", "function", "fused", "host") for row in found)


def counts(results: Iterable[Result]) -> str:
    """`passed/total`, and the same of the expanded tests."""
    found = []
    for expanded in (False, True):
        own = [not r.failure for r in results if r.case.expanded == expanded]
        if own:
            found.append(f"{sum(own)}/{len(own)}")
    return ", ".join(found)


def summary(results: Iterable[Result]) -> str:
    """Passed of each fixed set."""
    failed = {r.case.name for r in results if r.failure}
    lines = ["| set | passed | of |", "|---|--:|--:|"]
    for name in (*NODE_SETS, "all"):
        names = [c.name for c in select(name)]
        lines.append(f"| {name} | {len(names) - len(failed & set(names))} | {len(names)} |")
    for name in ("converted", "operator"):
        own = [run_case(c).failure for c in select(name)]
        lines.append(f"| pytorch-{name} | {own.count('')} | {len(own)} |")
    return "\n".join([*lines, "", ""])


def table(rows: Iterable[Row]) -> str:
    """The table in Markdown."""
    lines = ["| operator | lowered form | exactness | unit | tests |", "|---|---|---|---|--:|"]
    for r in rows:
        lines.append(f"| {r.name} | {r.lowered} | {r.exactness} | {r.unit} | {r.tests} |")
    return "\n".join([*lines, "", ""])


def refused(tests: Mapping[Key, list[Result]]) -> str:
    """The operators of the suite that are refused, and why."""
    lines = ["## Refused", "", "| operator | why | tests |", "|---|---|--:|"]
    for key in sorted(tests):
        reason = tests[key][0].failure.removeprefix(f"{key[1]}: ").replace("|", "¦")
        lines.append(f"| {'.'.join(key).lstrip('.')} | {reason} | {counts(tests[key])} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
