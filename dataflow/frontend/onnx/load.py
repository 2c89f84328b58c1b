"""Reads an ONNX file as hostile input."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from onnx import TensorProto, defs

from dataflow.errors import DataflowError
from dataflow.frontend.onnx.graph import MAX_RANK
from dataflow.frontend.onnx.load_old import upgrade
from dataflow.frontend.onnx.order import sort_nodes

MAX_FILE_BYTES = 1 << 31
MAX_DEPTH = 16
"""Deepest nesting of graphs (If, Loop, Scan) that is read."""

FOREIGN = frozenset({"SimplifiedLayerNormalization"})
"""Operators of onnxruntime that it writes without a domain."""

SUPPORTED_OPSETS = range(1, 29)
"""Nodes of old opsets are rewritten or refused one by one (load_old)."""

READ = 11
"""Models before this opset are rewritten on reading; the lowerings read what changed later."""

TEXT_SUFFIXES = (".yaml", ".yml")
"""Of text cascades, which are read elsewhere (dataflow.ir.text)."""

STANDARD = ("", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
"""Domains whose operators the checker must know."""

UNKNOWN = "dataflow.unknown"
"""Domain of unknown operators while the checker runs: it lets those of foreign domains pass."""

DEFAULT_OPSET = 23
"""Assumed for a model that uses operators of other domains only."""


def load_proto(source: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """A checked model with all of its data in memory, its nodes in order.

    Args:
        source: a path, or a model that is already in memory (it is copied).

    Raises:
        DataflowError: not an ONNX file, truncated, external data outside the model's folder,
            sizes out of bounds, or a graph that breaks the ONNX standard.
    """
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
        folder: Path | None = None
        where = "model"
    else:
        path = Path(source)
        where = str(source)
        model = _parse(path, where)
        folder = path.parent
    for tensor in _tensors(model, where):
        if tensor.data_location == TensorProto.EXTERNAL:
            _inline(tensor, folder, where)
    _move_foreign(model)
    sort_nodes(model.graph)
    opset = _check(model, where)
    if opset < READ:
        upgrade(model, opset, where)
    return model


def modernise(model: onnx.ModelProto, where: str) -> None:
    """Rewrites a loaded model in place in the forms of opset 13, where it is older."""
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    upgrade(model, opset, where)


def unknown(domain: str, op: str, version: int) -> bool:
    """Whether a domain of the standard has no such operator in this version."""
    domain = "" if domain == "ai.onnx" else domain
    if domain not in STANDARD:
        return False
    try:
        defs.get_schema(op, version, domain)
    except defs.SchemaError:
        return True
    return False


def _parse(path: Path, where: str) -> onnx.ModelProto:
    if path.suffix in TEXT_SUFFIXES:
        raise DataflowError(
            where,
            "is a text cascade, not an ONNX model",
            "compile and quantize take an ONNX model; "
            "check, evaluate, passes and rewrite read text cascades too",
        )
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataflowError(where, "is no regular file", "give the path of an ONNX file")
        if status.st_size > MAX_FILE_BYTES:
            raise DataflowError(
                where, f"has {status.st_size} bytes", "keep weights in external data"
            )
        data = path.read_bytes()
    except OSError as error:
        raise DataflowError(
            where, f"cannot be read ({error.strerror})", "give the path of an ONNX file"
        ) from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise DataflowError(
            where, "is not an ONNX file, or is truncated", "export the model again"
        ) from error
    if not model.ir_version or not model.opset_import or not model.HasField("graph"):
        raise DataflowError(
            where, "is not an ONNX model (no version or graph)", "export the model again"
        )
    return model


def _tensors(model: onnx.ModelProto, where: str) -> Iterator[TensorProto]:
    """Every tensor of the model, those in nested graphs and local functions included."""
    yield from _graph_tensors(model.graph, where, 0)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node, where, 1)


def _graph_tensors(graph: onnx.GraphProto, where: str, depth: int) -> Iterator[TensorProto]:
    if depth > MAX_DEPTH:
        raise DataflowError(where, f"nests graphs {depth} deep", "flatten its control flow")
    yield from graph.initializer
    for node in graph.node:
        yield from _node_tensors(node, where, depth + 1)


def _node_tensors(node: onnx.NodeProto, where: str, depth: int) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        yield attribute.t  # an empty tensor where the attribute is of another type
        yield from attribute.tensors
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            if graph.ByteSize():
                yield from _graph_tensors(graph, where, depth)


def _inline(tensor: TensorProto, folder: Path | None, where: str) -> None:
    place = f"{where}: tensor {tensor.name!r}"
    fields = {e.key: e.value for e in tensor.external_data}
    location = fields.get("location", "")
    if folder is None:
        raise DataflowError(place, "has external data", "pass the model's path instead")
    root = folder.resolve()
    target = (root / location).resolve() if "\0" not in location else root
    if not location or Path(location).is_absolute() or not target.is_relative_to(root):
        raise DataflowError(
            place,
            f"has external data at {location!r}, outside the model's folder",
            "keep data files beside the model",
        )
    if not target.is_file():
        raise DataflowError(place, f"misses its data file {location!r}", "restore the file")
    try:
        offset = int(fields.get("offset", "0") or 0)
        length = int(fields["length"]) if fields.get("length") else None
    except ValueError as error:
        raise DataflowError(place, "has a bad offset or length", "export again") from error
    size = target.stat().st_size
    length = size - offset if length is None else length
    if offset < 0 or length < 0 or offset + length > size or length > MAX_FILE_BYTES:
        raise DataflowError(
            place, f"wants bytes {offset}..{offset + length} of {size}", "restore the data file"
        )
    with target.open("rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


def _move_foreign(model: onnx.ModelProto) -> None:
    """Gives operators that onnxruntime files under the standard domain the domain they belong to.

    The standard does not know them, so that its checker would refuse the model.
    """
    moved = [n for n in model.graph.node if not n.domain and n.op_type in FOREIGN]
    for node in moved:
        node.domain = "com.microsoft"
    if moved and all(o.domain != "com.microsoft" for o in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those of the graphs nested in them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _import_domains(model: onnx.ModelProto) -> None:
    """Imports the foreign domains that nodes use without, so that the nodes can be listed."""
    for owner, nodes in ((model, model.graph.node), *((f, f.node) for f in model.functions)):
        known = {o.domain for o in owner.opset_import} | {"", "ai.onnx"}
        used = dict.fromkeys(node.domain for node in _nodes(nodes))
        for domain in used:
            if domain not in known:
                owner.opset_import.add(domain=domain, version=1)


@contextmanager
def _unknown_hidden(model: onnx.ModelProto) -> Iterator[None]:
    """Hides unknown operators from the checker: they are listed with all unsupported ones later."""
    hidden: list[tuple[onnx.NodeProto, str]] = []
    owners: list[onnx.ModelProto | onnx.FunctionProto] = []
    calls = {(f.domain, f.name) for f in model.functions}
    for owner, nodes in ((model, model.graph.node), *((f, f.node) for f in model.functions)):
        versions = {
            "" if o.domain == "ai.onnx" else o.domain: o.version for o in owner.opset_import
        }
        before = len(hidden)
        for node in _nodes(nodes):
            version = versions.get("" if node.domain == "ai.onnx" else node.domain)
            if not version or (node.domain, node.op_type) in calls:
                continue
            if version < 11 and defs.has(node.op_type, node.domain):
                continue  # of a later opset: upgrade() would take it for one of its own
            if unknown(node.domain, node.op_type, version):
                hidden.append((node, node.domain))
                node.domain = UNKNOWN
        if len(hidden) > before:
            owners.append(owner)
    for owner in owners:
        owner.opset_import.add(domain=UNKNOWN, version=1)
    try:
        yield
    finally:
        for node, domain in hidden:
            node.domain = domain
        for owner in owners:
            del owner.opset_import[-1]


def _check(model: onnx.ModelProto, where: str) -> int:
    """The opset of a model that keeps to the standard and to our bounds."""
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset not in SUPPORTED_OPSETS and (opset or not model.opset_import):
        raise DataflowError(
            where,
            f"uses opset {opset}",
            f"export with opset {SUPPORTED_OPSETS.start} to {SUPPORTED_OPSETS.stop - 1}",
        )
    if model.graph.sparse_initializer:
        raise DataflowError(where, "has sparse initialisers", "export dense weights")
    for tensor in _tensors(model, where):
        sizes = list(tensor.dims)
        if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_FILE_BYTES or len(sizes) > MAX_RANK:
            raise DataflowError(
                f"{where}: tensor {tensor.name!r}",
                f"has shape {sizes[:MAX_RANK]}",
                f"sizes must be at least 0, fit in memory, and be at most {MAX_RANK}",
            )
    _import_domains(model)
    for port in model.graph.input:
        rank = len(port.type.tensor_type.shape.dim)
        if rank > MAX_RANK:
            raise DataflowError(
                f"input {port.name!r}", f"has {rank} dimensions", f"use at most {MAX_RANK}"
            )
    # The standard asks for the rank of each output; exporters leave it out, and it is not needed.
    bare = [o.type.tensor_type for o in model.graph.output if o.type.HasField("tensor_type")]
    bare = [t for t in bare if not t.HasField("shape")]
    for kind in bare:
        kind.shape.SetInParent()
    try:
        with _unknown_hidden(model):
            onnx.checker.check_model(model)
    except Exception as error:  # the checker raises several types
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no detail"
        raise DataflowError(where, f"is not valid ONNX: {first}", "export it again") from error
    finally:
        for kind in bare:
            kind.ClearField("shape")
    if not opset:  # the checker found no operator of the standard itself
        opset = DEFAULT_OPSET
        model.opset_import.add(domain="", version=opset)
    return opset
