"""The layers of ResNet-18 and AlexNet in ZigZag 3.9.1, run by a Python that has it (and ``six``,
which it needs and does not ask for); not imported by ours.

Prints a JSON object ``{"network", "name", "cpu_s", "cycles", "energy_pj"}`` for each distinct
layer: the best of the objective on its own `tpu_like` and mapping files. Argument: its objective
(``latency``, ``energy``, ``EDP``).
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

# Nodes of its own ONNX files, each shape once.
LAYERS = {
    "resnet18": (
        "/conv1/Conv",
        "/layer1/layer1.0/conv1/Conv",
        "/layer2/layer2.0/conv1/Conv",
        "/layer2/layer2.0/conv2/Conv",
        "/layer2/layer2.0/downsample/downsample.0/Conv",
        "/layer3/layer3.0/conv1/Conv",
        "/layer3/layer3.0/conv2/Conv",
        "/layer3/layer3.0/downsample/downsample.0/Conv",
        "/layer4/layer4.0/conv1/Conv",
        "/layer4/layer4.0/conv2/Conv",
        "/layer4/layer4.0/downsample/downsample.0/Conv",
        "/fc/Gemm",
    ),
    "alexnet": ("Op0", "Op4", "Op8", "Op10", "Op12", "Op16", "Op19", "Op22"),
}


def alone(model: Any, name: str) -> Any:
    """The model with one node."""
    helper = import_module("onnx.helper")
    (node,) = (n for n in model.graph.node if n.name == name)
    graph = model.graph
    known = {v.name: v for v in (*graph.value_info, *graph.input, *graph.output)}
    weights = [t for t in graph.initializer if t.name in node.input]
    given = {t.name for t in weights}
    inputs = [known[i] for i in node.input if i and i not in given]
    made = helper.make_graph([node], name, inputs, [known[o] for o in node.output], weights)
    return helper.make_model(made, opset_imports=model.opset_import)


def main(objective: str) -> None:
    """All layers, a line each."""
    onnx = import_module("onnx")
    shape_inference = import_module("onnx.shape_inference")
    search = import_module("zigzag.api").get_hardware_performance_zigzag
    folder = Path(str(import_module("zigzag").__path__[0])) / "inputs"
    logging.disable(logging.WARNING)
    for network, names in LAYERS.items():
        path = folder / "workload" / f"{network}.onnx"
        model = shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
        for name in names:
            with tempfile.TemporaryDirectory() as out:
                start = time.process_time()
                energy, cycles, _ = search(
                    alone(model, name),
                    str(folder / "hardware" / "tpu_like.yaml"),
                    str(folder / "mapping" / "tpu_like.yaml"),
                    opt=objective,
                    dump_folder=out,
                    pickle_filename=f"{out}/all.pickle",
                    loma_show_progress_bar=False,
                )
                cpu = time.process_time() - start
            found = {"cpu_s": cpu, "cycles": float(cycles), "energy_pj": float(energy)}
            print(json.dumps({"network": network, "name": name, **found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
