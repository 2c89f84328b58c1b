"""The best mapping of each Einsum by the time with stalls, as a function."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflow import arguments
from dataflow.api.explore import Costed, searched
from dataflow.api.shared import StrPath, choices, new_file
from dataflow.arguments import guarded
from dataflow.errors import DataflowError

if TYPE_CHECKING:
    import onnx

    from dataflow.search.windows import Stalls


@dataclass(frozen=True)
class Stalled:
    """The mappings that a search for the time with stalls found, Einsum after Einsum.

    Attributes:
        found: the best mapping of each Einsum in each objective.
        costed: the mapping of the objective that was asked for, with its cost.
        objective: latency, energy or edp.
        seconds: wall time of the search.
    """

    found: Stalls
    costed: Costed
    objective: str
    seconds: float

    def json(self) -> dict[str, object]:
        """The keys of ``dataflow cost --json``, and totals in each objective."""
        totals = {
            name: {
                "latency_cycles": self.found.cycles(name),
                "energy_pj": self.found.energy_pj(name),
            }
            for name in ("latency", "energy", "edp")
        }
        return {
            **self.costed.json(),
            "objective": self.objective,
            "search_seconds": self.seconds,
            "best_with_stalls": totals,
        }


@guarded
def map_with_stalls(
    workload: StrPath | onnx.ModelProto,
    arch: StrPath,
    objectives: Sequence[str] = ("latency",),
    *,
    out: StrPath | None = None,
    effort: int = 1,
    dims: Mapping[str, int] | None = None,
) -> Stalled:
    """The best mapping found of each Einsum by the time with stalls, fill and drain.

    Args:
        objectives: one of ``latency``, ``energy``, ``edp``; all three are searched at once, this
            one is written and costed.
        out: mapping file to write; ``cost`` reads it and gives the same ``with_stalls``.
        effort: multiplies how much is searched; more never ends worse.

    Raises:
        DataflowError: bad input, or nothing fits.
    """
    from dataflow.arch import load_architecture
    from dataflow.cost import cost as cost_of
    from dataflow.mapping.file import save_mapping
    from dataflow.search.windows import map_with_stalls as search
    from dataflow.search.windows.layers import OBJECTIVES

    wanted = choices(tuple(objectives), OBJECTIVES, "--objective")
    if len(wanted) > 1:
        fix = f"give {wanted[0]}: equal mappings are told apart by cycles, then by energy"
        raise DataflowError("--objective", "takes one objective with --stalls", fix)
    target = None if out is None else new_file(out)
    cascade, asked = searched(workload, dims, effort)
    machine = load_architecture(arguments.path(arch, "arch"))
    start = time.monotonic()
    found = search(asked, machine, effort)
    seconds = time.monotonic() - start
    mapping = found.mapping(wanted[0])
    costed = Costed(cost_of(mapping, asked, machine), mapping, asked, machine)
    if target is not None:
        save_mapping(target, cascade, mapping)
    return Stalled(found, costed, wanted[0], seconds)
