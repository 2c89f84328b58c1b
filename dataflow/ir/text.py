"""The text form of a Cascade: YAML, with the data of weights in an .npz file beside it.

``print`` then ``parse`` gives the same Cascade, and printing again the same text. Only ``shapes``,
``declaration`` and ``expressions`` are required.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade, Tensor
from dataflow.ir.dtype import F32
from dataflow.ir.names import default_name
from dataflow.ir.printing import format_einsum
from dataflow.ir.reader import read_cascade
from dataflow.ir.sections import format_sections

Array = np.ndarray


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
    data: dict[str, Array] = {}
    if beside.is_file():
        try:
            with np.load(beside, allow_pickle=False) as archive:
                data = {k: archive[k] for k in archive.files}
        except Exception as error:  # numpy and zipfile raise many types on malformed archives
            raise DataflowError(
                str(beside), "is not an .npz file of arrays", "save the cascade again"
            ) from error
    return loads(text, str(path), data)


def save(cascade: Cascade, path: str | Path) -> None:
    """Writes ``path`` and, when there are weights, the ``.npz`` beside it."""
    path = Path(path)
    path.write_text(dumps(cascade), encoding="utf-8")
    if cascade.constants:
        _savez(path.with_suffix(".npz"), cascade.constants)


def _savez(path: Path, arrays: Mapping[str, Array]) -> None:
    """An .npz file with the same bytes for the same arrays (its entries carry no time)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(arrays.items()):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(data, order="C"), allow_pickle=False)


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
