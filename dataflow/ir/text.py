"""The text form of a Cascade: YAML, with the data of weights in an .npz file beside it.

``print`` then ``parse`` gives the same Cascade, and printing again the same text. Only ``shapes``,
``declaration`` and ``expressions`` are required.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from dataflow.errors import DataflowError
from dataflow.files import write_together
from dataflow.ir.cascade import Cascade, Tensor
from dataflow.ir.dtype import F32
from dataflow.ir.names import default_name
from dataflow.ir.printing import format_einsum
from dataflow.ir.reader import read_cascade
from dataflow.ir.sections import format_sections
from dataflow.npz import comment_of, load_npz, npz_bytes

Array = np.ndarray

WEIGHTS = b"weights of a dataflow cascade"
"""Comment of the .npz files that belong to a text cascade, and may be replaced with it."""


def loads(text: str, where: str = "cascade", data: dict[str, Array] | None = None) -> Cascade:
    """The Cascade of a text, with the data of its weights.

    Raises:
        DataflowError: with file, line, column and fix.
    """
    return read_cascade(text, where, data or {})


def load(path: str | Path) -> Cascade:
    """The Cascade of a ``.yaml`` file and the ``.npz`` of the same name, if there is one."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataflowError(
            str(path), f"cannot be read ({error.strerror})", "give the path of a text cascade"
        ) from error
    except UnicodeDecodeError as error:
        raise DataflowError(str(path), "is not UTF-8 text", "give a text cascade") from error
    beside = path.with_suffix(".npz")
    if not beside.is_file():
        return loads(text, str(path))

    def wanted(heads: Mapping[str, Array]) -> None:
        # Our own files are not compressed; what unpacks to more may be far too much.
        if sum(head.nbytes for head in heads.values()) > beside.stat().st_size:
            loads(text, str(path), dict(heads))

    return loads(text, str(path), load_npz(beside, check=wanted))


def save(cascade: Cascade, path: str | Path) -> None:
    """Writes ``path`` and, when there are weights, the ``.npz`` beside it: both or neither.

    Raises:
        DataflowError: one cannot be written, or the ``.npz`` is there and holds other data.
    """
    path = Path(path)
    parts = {path: dumps(cascade).encode()}
    beside = path.with_suffix(".npz")
    arrays = _arrays(cascade)
    if arrays:
        if beside.exists() and comment_of(beside) != WEIGHTS:
            raise DataflowError(
                str(beside),
                "is in the way: the weights belong there, and it holds other data",
                f"name another file than {path.name}, or move it away",
            )
        parts[beside] = npz_bytes(arrays, WEIGHTS)
    write_together(parts)


def _arrays(cascade: Cascade) -> dict[str, Array]:
    """The data of the weights; of those of a head or tail with the part before the name."""
    arrays = {name: cascade.constants[name] for name in sorted(cascade.constants)}
    for key, part in (("head", cascade.head), ("tail", cascade.tail)):
        if part is not None:
            arrays |= {f"{key}.{name}": part.constants[name] for name in sorted(part.constants)}
    return arrays


def dumps(cascade: Cascade) -> str:
    """The text of a Cascade (without the data of its weights)."""
    tensors = cascade.tensors.values()
    lines = ["einsum:", f"  name: {_quoted(cascade.name)}"]
    lines += _required("shapes", {r: str(s) for r, s in cascade.rank_sizes.items()})
    lines += _required("declaration", {t.name: f"[{', '.join(t.ranks)}]" for t in tensors})
    lines += _section("dims", {t.name: _list(t.shape) for t in tensors if _odd(cascade, t)})
    lines += _section("types", {t.name: str(t.dtype) for t in tensors if t.dtype != F32})
    for key, names in (
        ("inputs", cascade.inputs),
        ("outputs", cascade.outputs),
        ("graph-inputs", cascade.graph_inputs),
        ("graph-outputs", cascade.graph_outputs),
        ("delivers", tuple(_quoted(label) for label in cascade.delivers)),
        ("weights", tuple(t.name for t in tensors if t.role == "weight")),
        ("host-tensors", tuple(t.name for t in tensors if t.role == "host")),
    ):
        if names or key in ("inputs", "outputs"):
            lines.append(f"  {key}: {_list(names)}")
    lines += _section("labels", {t.name: _quoted(t.label) for t in tensors if t.label != t.name})
    lines += _section("quantisation", {t.name: _quant(t) for t in tensors if t.quant})
    lines += _host(cascade)
    lines += _sources(cascade)
    lines += _program(cascade)
    lines += format_sections(dict(cascade.sections))
    for key, part in (("head", cascade.head), ("tail", cascade.tail)):
        if part is not None:
            lines += [f"{key}: |", *(f"  {line}" for line in dumps(part).splitlines())]
    return "\n".join(lines) + "\n"


def _program(cascade: Cascade) -> list[str]:
    """One loop is written as init, iterate, expressions and finally, several in place."""
    if len(cascade.iterations) != 1:
        return _block("expressions", _nested(cascade)) or ['  expressions: ""']
    (step,) = cascade.iterations.values()
    inside = [k for k, e in enumerate(cascade.einsums) if e.iterates]
    first, last = inside[0], inside[-1] + 1
    text = [format_einsum(e) for e in cascade.einsums]
    stop = f"{step.variable} >= {step.stop}"
    return [
        *_block("init", text[:first]),
        f"  iterate: {{variable: {step.variable}, from: {step.start}, until: {stop}}}",
        *_block("expressions", text[first:last]),
        *_block("finally", text[last:]),
    ]


def _nested(cascade: Cascade) -> list[str]:
    lines: list[str] = []
    around: tuple[str, ...] = ()
    for einsum in cascade.einsums:
        for depth, variable in enumerate(einsum.iterates):
            if around[: depth + 1] != einsum.iterates[: depth + 1]:
                step = cascade.iterations[variable]
                head = f"iterate {variable} from {step.start} until {variable} >= {step.stop}:"
                lines.append("  " * depth + head)
                around = einsum.iterates[: depth + 1]
        around = einsum.iterates
        lines.append("  " * len(around) + format_einsum(einsum))
    return lines


def _block(key: str, statements: list[str]) -> list[str]:
    return [f"  {key}: |", *(f"    {s}" for s in statements)] if statements else []


def _section(key: str, entries: dict[str, str]) -> list[str]:
    return [f"  {key}:", *(f"    {k}: {v}" for k, v in entries.items())] if entries else []


def _required(key: str, entries: dict[str, str]) -> list[str]:
    return _section(key, entries) or [f"  {key}: {{}}"]


def _odd(cascade: Cascade, tensor: Tensor) -> bool:
    return tensor.shape != tuple(cascade.rank_sizes.get(r, 0) for r in tensor.ranks)


def _list(items: tuple[object, ...]) -> str:
    return f"[{', '.join(str(i) for i in items)}]"


def _quoted(text: str) -> str:
    """A YAML scalar in double quotes, any text."""
    dumped: str = yaml.safe_dump(text, default_style='"', width=1 << 30)
    return dumped.strip()


def _quant(tensor: Tensor) -> str:
    quant = tensor.quant
    assert quant is not None
    scales = _list(tuple(np.float32(s) for s in quant.scale))
    axis = "" if quant.axis is None else f", axis: {quant.axis}"
    return f"{{scale: {scales}, zero-point: {_list(quant.zero_point)}{axis}}}"


def _host(cascade: Cascade) -> list[str]:
    if not cascade.host:
        return []
    lines = ["  host:"]
    for op in cascade.host:
        entry = f"op: {op.op}, stage: {op.stage}, input: {op.input}, output: {op.output}"
        if op.op in ("quantize", "dequantize"):
            entry += f", scale: {np.float32(op.scale)}, zero-point: {op.zero_point}"
        if op.op == "softmax":
            entry += f", axis: {op.axis}"
        lines.append(f"    - {{{entry}, source: {_quoted(op.source)}}}")
    return lines


def _sources(cascade: Cascade) -> list[str]:
    """Node and operator of each Einsum, and its name where that is not the derived one."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    sources: dict[str, str] = {}
    for einsum in cascade.einsums:
        derived = default_name(einsum.output.tensor, taken)
        taken.add(derived)
        if derived != einsum.name:
            names[derived] = einsum.name
        if einsum.source or einsum.operator:
            sources[derived] = f"[{_quoted(einsum.source)}, {_quoted(einsum.operator)}]"
    return _section("names", names) + _section("sources", sources)
