"""Example networks, from torch to C simulation, under tilings nobody would choose."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataflow import frontend, quantise, rewrite
from dataflow.cosim.csim import run_csim
from dataflow.emit.hls.project import TOP
from dataflow.emit.hls.write import emit_hls
from dataflow.evaluate import run_machine_part
from dataflow.layers.layer import Layer, LayerGraph
from dataflow.layers.plan import MemoryMap, NetworkMapping, Placement
from dataflow.layers.tiling import Tiling
from dataflow.lower import lower
from tests.emit.hls_build import machine
from tests.emit.hls_calls import hosts
from tests.emit.layer_cases import Case

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def quantised(name: str, folder: Path) -> Path:
    """The example as a QOperator model."""
    source = EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    np.savez(folder / "calibration.npz", **module.calibration(4, 0))
    frontend.export(f"{source}:make", folder / "float.onnx")
    quantise.quantize(folder / "float.onnx", folder / "calibration.npz", folder / "q.onnx")
    return folder / "q.onnx"


def random_tiling(case: Case, layer: Layer) -> Tiling:
    """A random legal tiling; depthwise layers use the shift register."""
    if layer.groups == 1:
        dims = "q" if layer.flat else "bpqnk" if layer.kind == "array" else "bpqn"
        return case.tiling(layer, dims, ports=case.random(1, 3), sink="both")
    depthwise = layer.c == layer.n == 1
    tiling = case.tiling(layer, "bgpq", ports=case.random(1, 3), sink="both")
    if depthwise:
        return replace(tiling, feed="fir", fir_taps=case.random(1, layer.taps_s))
    most = min(tiling.tile.get("g", layer.groups), max(1, 8 // layer.n))
    return replace(tiling, group_pack=case.random(1, most))


def anywhere(graph: LayerGraph, case: Case) -> NetworkMapping:
    """Every tensor in both memories, each layer tiled at random."""
    resident, dram, end = {}, {}, 0
    for name, storage in sorted(graph.storage.items()):
        if storage.alias_of is None:
            resident[name] = Placement(end, storage.bytes, storage.bytes)
            dram[name] = end
            end += storage.bytes + 3
    tilings = {layer.name: random_tiling(case, layer) for layer in graph.layers}
    return NetworkMapping("random", tilings, MemoryMap(resident, {}, dram), 0, 0, False)


def check(name: str, arch: str, folder: Path) -> None:
    cascade = rewrite.legalise(frontend.load_model(quantised(name, folder), {}))
    graph = lower(cascade)
    case = Case(np.random.default_rng(11))
    inputs = {}
    for tensor in (cascade.tensors[n] for n in cascade.inputs):
        low, high = tensor.dtype.lowest, tensor.dtype.highest
        codes = case.rng.integers(low, high, tensor.shape, endpoint=True)
        inputs[tensor.name] = codes.astype(tensor.dtype.numpy)
    values = run_machine_part(cascade, inputs)
    emit_hls(graph, anywhere(graph, case), machine(arch), folder / "hls", name, values)
    assert hosts(folder / "hls", "array_tile") == {TOP}
    run = run_csim(folder / "hls", values)
    assert set(run.mismatches) == {layer.output.tensor for layer in graph.layers}
    assert {n: count for n, count in run.mismatches.items() if count} == {}
    for output in cascade.outputs:
        np.testing.assert_array_equal(run.outputs[output], values[output])


def test_lenet5_is_bit_exact(tmp_path: Path) -> None:
    check("lenet5", "edge8", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arch"), [("mlp", "edge8"), ("resnet8", "edge16"), ("dscnn", "edge32")]
)
def test_other_networks_are_bit_exact(name: str, arch: str, tmp_path: Path) -> None:
    check(name, arch, tmp_path)
