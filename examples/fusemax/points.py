"""FuseMax against FLAT at the 24 points of the paper: four models, six lengths, batch 64.

    python -m examples.fusemax.points -o fusemax.svg

Prints the plain means over the points beside those of the paper's abstract, and plots the points.
Modelled. Energy is that of DRAM and arithmetic: the artifact lacks those of the buffers and of the
2D array's registers, so that the energy ratio is no reproduction of the paper's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from examples.fusemax.attention import config, linear

BATCH = 64
MODELS = {"BERT": (768, 12, 64, 3072), "TrXL": (1024, 16, 64, 4096)}
MODELS |= {"T5": (512, 8, 64, 2048), "XLM": (2048, 16, 128, 8192)}
"""Width, heads, depth of a head, width of the feed-forward layers."""

LENGTHS = {"1K": 1 << 10, "4K": 1 << 12, "16K": 1 << 14, "64K": 1 << 16, "256K": 1 << 18}
LENGTHS |= {"1M": 1 << 20}


@dataclass(frozen=True)
class Point:
    """FLAT's time over FuseMax's, FuseMax's energy over FLAT's: attention, and a whole layer."""

    model: str
    length: str
    speedup: float
    energy: float
    layer_speedup: float
    layer_energy: float


def point(model: str, length: str) -> Point:
    """One of the 24."""
    width, heads, depth, inner = MODELS[model]
    tokens = LENGTHS[length]
    time, energy, whole, whole_energy = [], [], [], []
    for name, arch in (("flat", "flat"), ("binding", "fusemax")):
        found = config(name, tokens, BATCH * heads, depth, depth).cost()
        layers = [linear(BATCH * tokens, width, width, arch).cost()] * 4
        layers += [linear(BATCH * tokens, width, inner, arch).cost()]
        layers += [linear(BATCH * tokens, inner, width, arch).cost()]
        time.append(found.cycles)
        energy.append(found.energy_pj)
        whole.append(found.cycles + sum(c.cycles for c in layers))
        whole_energy.append(found.energy_pj + sum(c.energy_pj for c in layers))
    return Point(
        model,
        length,
        float(time[0] / time[1]),
        float(energy[1] / energy[0]),
        float(whole[0] / whole[1]),
        float(whole_energy[1] / whole_energy[0]),
    )


def plot(points: list[Point], path: Path) -> None:
    """Speed over length, attention and whole layers."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), sharey=True)
    for axis, title, field in (
        (axes[0], "attention", "speedup"),
        (axes[1], "encoder layer", "layer_speedup"),
    ):
        for model in MODELS:
            row = [getattr(p, field) for p in points if p.model == model]
            axis.plot(list(LENGTHS), row, marker="o", label=model)
        axis.set(title=title, xlabel="tokens", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("FLAT cycles / FuseMax cycles (modelled)")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Prints the points and their means, and writes the plot."""
    parser = argparse.ArgumentParser(description="FuseMax against FLAT at 24 points")
    parser.add_argument("-o", "--output", type=Path, metavar="PLOT.svg")
    out = parser.parse_args().output
    points = [point(model, length) for model in MODELS for length in LENGTHS]
    print(f"{'':14}attention       encoder layer")
    print(f"{'':14}speed  energy   speed  energy")
    for p in points:
        print(
            f"{p.model:6}{p.length:>6}  {p.speedup:5.2f}  {p.energy:6.1%}"
            f"   {p.layer_speedup:5.2f}  {p.layer_energy:6.1%}"
        )
    means = [
        sum(getattr(p, name) for p in points) / len(points)
        for name in ("speedup", "energy", "layer_speedup", "layer_energy")
    ]
    print(f"mean          {means[0]:5.2f}  {means[1]:6.1%}   {means[2]:5.2f}  {means[3]:6.1%}")
    print("paper          6.7     79%     5.3     83%")
    if out is not None:
        plot(points, out)
        print(f"wrote {out}")


if __name__ == "__main__":
    main()
