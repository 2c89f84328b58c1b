"""Transformers of real size: how much of the array they use, and what the rest is lost to.

``python -m tests.bench.transformers FOLDER [NAME ...] [--arch edge16] [--simulate]`` quantises each
block with the defaults (into the folder, where the next run finds it), compiles it and prints the
predicted cycles, their causes and the layers that take most; ``--simulate`` runs it in RTL as well.
Whole networks (`WHOLE`) run when they are named.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.random import fork_rng

from dataflow import api, flow, frontend, quantise
from dataflow.arch import load_architecture
from dataflow.machine import Machine, machine_of
from examples import bert, gpt2, llama, vit
from examples.catalogue import NETWORKS, Network

Made = tuple[nn.Module, tuple[torch.Tensor, ...]]


@fork_rng()
def _seeded(make: Callable[[], nn.Module], tokens: int, width: int) -> Made:
    torch.manual_seed(0)
    return make().eval(), (torch.randn(1, tokens, width),)


def bert_layer() -> Made:
    """BERT layer, 128 tokens, width 256, 4 heads."""
    return _seeded(lambda: bert.Layer(256, 4, sdpa=False), 128, 256)


def vit_block() -> Made:
    """ViT block, 197 tokens, width 192, 3 heads."""
    return _seeded(lambda: vit.Layer(192, 3), 197, 192)


def gpt2_block() -> Made:
    """GPT-2 block, causal, 128 tokens, width 256, 4 heads."""
    return _seeded(lambda: gpt2.Block(256, 4, 128), 128, 256)


def llama_block() -> Made:
    """Llama block, 128 tokens, width 256, 4 query and 2 key heads."""
    return _seeded(lambda: llama.Block(256, 4, 2, 128), 128, 256)


BLOCKS: dict[str, Callable[[], Made]] = {
    make.__name__: make for make in (bert_layer, vit_block, gpt2_block, llama_block)
}
WHOLE: dict[str, Network] = {name: NETWORKS[name] for name in ("vit_tiny", "bert_mini")}
SAMPLES = 32


def quantised(name: str, folder: Path, machine: Machine) -> Path:
    """The int8 form of a block or network, made where it is not there yet."""
    target = folder / f"{name}.int8.onnx"
    if target.exists():
        return target
    source = folder / f"{name}.onnx"
    if name in WHOLE:
        spec, drawn = WHOLE[name].spec, WHOLE[name].samples(SAMPLES, 0)
    else:
        spec = f"{Path(__file__)}:{name}"
        _, (example,) = BLOCKS[name]()
        shape = (SAMPLES * example.shape[0], *example.shape[1:])
        drawn = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    frontend.export(spec, source)
    made = quantise.quantize_report(source, drawn, target, judge=flow.judge_for(machine))
    print(f"{name}: {made.snr_db:.1f} dB {made.refusal}")
    return target


def report(name: str, folder: Path, machine: Machine, most: int) -> None:
    """Prints what is predicted."""
    one = flow.run(quantised(name, folder, machine), machine)
    macs = sum(layer.macs for layer in one.graph.layers)
    cycles = one.prediction.cycles
    full = macs / machine.mac_units
    print(f"{name} on {machine.name}: {macs:,} MACs, {cycles:,} cycles, {full / cycles:.3f}")
    named = sorted(
        zip(one.prediction.layers, one.graph.layers, strict=True), key=lambda pair: -pair[0]
    )
    for count, layer in named[:most]:
        used = layer.macs / machine.mac_units / count if count else 0.0
        print(f"  {count:9,} {count / cycles:6.1%} used {used:.3f} {layer.kind:7} {layer.name}")
    by_kind: dict[str, int] = {}
    for count, layer in named:
        kind = layer.kind if layer.macs or layer.kind == "vector" else f"{layer.kind}, no MACs"
        by_kind[kind] = by_kind.get(kind, 0) + count
    print("  " + ", ".join(f"{kind} {count:,}" for kind, count in by_kind.items()))
    for unit, engine in one.prediction.engines.items():
        waits = ", ".join(f"{cause} {count:,}" for cause, count in engine.stalls.items() if count)
        print(f"  {unit}: busy {engine.busy:,}; {waits}")


def simulated(name: str, folder: Path, machine: Machine) -> None:
    """Runs it in RTL."""
    out = folder / f"{name}.{machine.name}"
    api.compile_model(quantised(name, folder, machine), out, arch=machine.name, targets=("rtl",))
    before = _children_seconds()
    found = api.simulate(out)
    seconds = _children_seconds() - before
    print(f"  RTL: {found.cycles:,} cycles, {found.mismatches} mismatches, {seconds:.0f} CPU s")
    assert found.mismatches == 0
    assert found.cycles == found.predicted_cycles


def _children_seconds() -> float:
    """CPU seconds of the processes that have ended: simulators, where none was built."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Reports the blocks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.transformers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*BLOCKS, *WHOLE]))
    parser.add_argument("--arch", default="edge16")
    parser.add_argument("--most", type=int, default=12, help="layers that are printed")
    parser.add_argument("--simulate", action="store_true")
    chosen = parser.parse_args()
    machine = machine_of(load_architecture(chosen.arch))
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or BLOCKS:
        report(name, chosen.folder, machine, chosen.most)
        if chosen.simulate:
            simulated(name, chosen.folder, machine)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
