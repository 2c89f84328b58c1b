"""All that ``dataflow passes`` prints about a fibre, as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataflow.analysis.bounds import attention_io_bound
from dataflow.analysis.footprint import Footprint, footprint
from dataflow.analysis.passes import Passes, count_passes
from dataflow.analysis.traffic import Traffic, dram_traffic, operations
from dataflow.errors import DataflowError
from dataflow.ir.cascade import Cascade


@dataclass(frozen=True)
class FibreSummary:
    """Analyses of one fibre and of the cascade around it.

    Attributes:
        passes: the pass count.
        footprint: live elements.
        operations: arithmetic operations of the whole cascade.
        compulsory: DRAM traffic when everything is moved once.
        nest: DRAM traffic of the nest that was asked for (the compulsory one without).
        intensity: operations per byte of ``nest``.
        attention_bound: least number of elements that exact attention of these sizes must move
            (up to a constant factor), when sizes and buffer were given.
    """

    passes: Passes
    footprint: Footprint
    operations: int
    compulsory: Traffic
    nest: Traffic
    intensity: float
    attention_bound: float | None

    def json(self) -> dict[str, object]:
        """The record under the keys of the contract and further ones."""
        held = [
            {
                "tensor": t.tensor,
                "live": t.kind,
                "elements": t.elements,
                "symbolic": t.symbolic,
            }
            for t in self.footprint.tensors
        ]
        moved = [
            {"tensor": m.tensor, "direction": m.direction, "times": m.times, "bytes": m.bytes}
            for m in self.nest.tensors
        ]
        return {
            "passes": self.passes.passes,
            "chain": list(self.passes.chain),
            "tensor": self.passes.tensor,
            "ranks": list(self.passes.ranks),
            "levels": dict(self.passes.levels),
            "footprint": {
                "grows": self.footprint.grows,
                "elements": self.footprint.elements,
                "tensors": held,
            },
            "operations": self.operations,
            "compulsory_dram_bytes": self.compulsory.bytes,
            "traffic": {
                "nest": self.nest.nest,
                "read_bytes": self.nest.read_bytes,
                "write_bytes": self.nest.write_bytes,
                "tensors": moved,
            },
            "intensity_ops_per_byte": self.intensity,
            "attention_bound_elements": self.attention_bound,
        }


def summarise(
    cascade: Cascade,
    tensor: str,
    ranks: tuple[str, ...],
    outer: Mapping[str, int] | None = None,
    attention: tuple[int, int, int, int] | None = None,
) -> FibreSummary:
    """All analyses of the fibres ``ranks`` (outer first) of ``tensor``.

    Args:
        cascade: any.
        tensor, ranks: the fibre.
        outer: tile size by rank of outer loops, for the traffic.
        attention: queries, keys, depth and buffer elements, for the bound.

    Raises:
        DataflowError: no such fibre, unknown rank, sizes that are not positive.
    """
    passes = count_passes(cascade, tensor, ranks)
    if not passes.passes:
        raise DataflowError(
            f"tensor {tensor!r}", f"is never read along {','.join(ranks)}", "name another rank"
        )
    nest = dram_traffic(cascade, outer)
    count = operations(cascade)
    return FibreSummary(
        passes,
        footprint(cascade, tensor, ranks),
        count,
        dram_traffic(cascade),
        nest,
        count / max(1, nest.bytes),
        None if attention is None else attention_io_bound(*attention),
    )
