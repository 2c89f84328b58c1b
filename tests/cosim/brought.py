"""Models as users bring them, through compile and the simulations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflow import api
from dataflow.decide import HostMode


@dataclass(frozen=True)
class Ran:
    """What a model took on a machine.

    Attributes:
        predicted, simulated: cycles.
        rtl, csim: differing elements over everything that is compared; csim None: not asked.
    """

    predicted: int
    simulated: int
    rtl: int
    csim: int | None


def run(
    model: Path,
    out: Path,
    *,
    arch: str = "edge16",
    given: Mapping[str, Any] | None = None,
    csim: bool = False,
    host: HostMode = "auto",
) -> Ran:
    """Compiles, simulates and prints one line.

    Args:
        model: a quantised model.
        out: the folder that compile writes.
        given: inputs; None: the stored seeded ones.
        csim: whether the C simulation runs too.
        host: what the host may run.
    """
    targets = ("rtl", "hls") if csim else ("rtl",)
    summary = api.compile_model(model, out, arch=arch, targets=targets, host=host)
    found = api.simulate(out, input=given)
    compared = api.csim(out, input=given).mismatches if csim else None
    assert summary.predicted.cycles is not None
    ran = Ran(
        summary.predicted.cycles,
        found.cycles,
        found.mismatches,
        compared,
    )
    print(
        f"{out.name} on {arch}: {ran.predicted:,} cycles predicted, {ran.simulated:,} simulated, "
        f"mismatches {ran.rtl} in RTL, {ran.csim} in C"
    )
    return ran


def judge(ran: Ran) -> None:
    """Nothing differs, and not one cycle."""
    assert (ran.rtl, ran.csim or 0) == (0, 0)
    assert ran.simulated == ran.predicted
