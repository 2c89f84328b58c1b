"""torch module to ONNX."""

from __future__ import annotations

import importlib.util
import io
import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import onnx

from dataflow.errors import DataflowError
from dataflow.files import write_atomic

OPSET = 20
OPSETS = range(18, 26)
"""What torch's exporter writes and onnxruntime reads."""

IR_VERSION = 10


def load_factory(spec: str) -> Callable[[], Any]:
    """The function named by ``FILE.py:FACTORY``; DataflowError when it cannot be had."""
    file, _, name = spec.rpartition(":")
    if not file or not name:
        raise DataflowError(repr(spec), "is not FILE.py:FACTORY", "use e.g. examples/mlp.py:make")
    path = Path(file)
    if not path.is_file():
        raise DataflowError(file, "does not exist", "give the path of a Python file")
    # A name of its own, so that an example cannot shadow an installed module.
    module_spec = importlib.util.spec_from_file_location(f"_dataflow_user_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise DataflowError(file, "is not a Python file", "give a file that ends in .py")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise DataflowError(
            file, f"fails on import: {type(error).__name__}: {error}", "correct the file"
        ) from error
    finally:
        sys.path.pop(0)
    factory = getattr(module, name, None)
    if not callable(factory):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise DataflowError(
            file, f"has no function {name!r}", f"it defines {', '.join(sorted(public)) or 'none'}"
        )
    return factory  # type: ignore[no-any-return]


def load_module(spec: str) -> tuple[Any, tuple[Any, ...]]:
    """``(module, example_inputs)`` that the factory ``FILE.py:FACTORY`` returns."""
    import torch

    factory = load_factory(spec)
    try:
        made = factory()
    except Exception as error:
        raise DataflowError(
            spec, f"fails: {type(error).__name__}: {error}", "correct the factory"
        ) from error
    good = (
        isinstance(made, tuple)
        and len(made) == 2
        and isinstance(made[0], torch.nn.Module)
        and isinstance(made[1], tuple | list)
    )
    if not good:
        raise DataflowError(
            spec, "does not return (module, example_inputs)", "return e.g. module, (x,)"
        )
    return made[0], tuple(made[1])


def export(spec: str, out: str | Path, opset: int = OPSET) -> Path:
    """Writes the module of ``FILE.py:FACTORY`` as ONNX; returns the path.

    From opset 23 on attention and RMS normalisation stay single nodes; at 20 they are written out.

    Raises:
        DataflowError: unknown opset, or the factory or torch's exporter fails.
    """
    if opset not in OPSETS:
        raise DataflowError(
            f"--opset {opset}", "is not known", f"use {OPSETS.start} to {OPSETS.stop - 1}"
        )
    import torch

    module, inputs = load_module(spec)
    sink = io.StringIO()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(sink), redirect_stderr(sink):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module, inputs, dynamo=True, opset_version=opset, verbose=False
            )
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise DataflowError(
            spec, f"cannot be exported: {type(error).__name__}: {first}", "simplify the module"
        ) from error
    finally:
        logging.disable(level)
    assert program is not None
    return save(program.model_proto, out, "dataflow")


def save(model: onnx.ModelProto, out: str | Path, name: str) -> Path:
    """Writes a model without metadata (which holds local paths), with an explicit version."""
    model.ir_version = IR_VERSION
    clean(model, name)
    path = Path(out)
    write_atomic(path, model.SerializeToString(deterministic=True))
    return path


def clean(model: onnx.ModelProto, name: str) -> None:
    """Removes metadata and documentation from a model in place; sets the producer."""
    del model.metadata_props[:]
    model.doc_string = ""
    model.producer_name = name
    model.producer_version = ""
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    groups = (graph.node, graph.input, graph.output, graph.value_info, graph.initializer)
    for group in groups:
        for item in group:
            item.doc_string = ""
            del item.metadata_props[:]
