"""The decision about a whole model: a row for each node, and everything that was refused."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.decide.host import NOTHING, WARN_SHARE, HostWork
from dataflow.decide.rows import NodeDecision
from dataflow.errors import DataflowError
from dataflow.frontend.onnx.cut import Parts
from dataflow.ir.cascade import Cascade
from dataflow.layers.layer import LayerGraph
from dataflow.lower.refusal import refusal_error
from dataflow.rewrite.passes import Stage


@dataclass(frozen=True)
class Refusal:
    """A cause for which ``compile`` refuses a model.

    Attributes:
        name, operator, shape: the node's; of the whole network the operator and shape are empty.
        reason, fix: the cause, and what the user can do about it.
    """

    name: str
    operator: str
    shape: str
    reason: str
    fix: str

    @property
    def where(self) -> str:
        """Operator, node and shape, for a message."""
        if not self.operator:
            return self.name
        return " ".join(filter(None, (self.operator, repr(self.name), self.shape)))


@dataclass(frozen=True, eq=False)
class Verdict:
    """What ``compile`` does with a model.

    Attributes:
        name: of the network.
        nodes: a row for each node of the model that was given.
        refusals: all causes; empty when the model compiles.
        evaluates: whether ``evaluate`` runs the model.
        host: what the host does.
        stages: the Cascade after each pass.
        imported: the Cascade as it was imported; None when the import refused the model.
        graph: its layers; None when something was refused.
        parts: the models of the head, the machine's part and the tail, where the host has some.
    """

    name: str
    nodes: tuple[NodeDecision, ...]
    refusals: tuple[Refusal, ...]
    evaluates: bool
    host: HostWork = NOTHING
    stages: tuple[Stage, ...] = ()
    imported: Cascade | None = None
    graph: LayerGraph | None = None
    parts: Parts | None = None

    @property
    def compiles(self) -> bool:
        """Whether ``compile`` takes the model."""
        return not self.refusals

    @property
    def warning(self) -> str:
        """What `check` warns of, or an empty text."""
        if self.host.share <= WARN_SHARE:
            return ""
        return (
            f"{100 * self.host.share:.1f} % of the arithmetic is the host's, which the cycles "
            "leave out"
        )

    def error(self) -> DataflowError:
        """All refusals as one error."""
        rows = [(r.where, r.reason, r.fix) for r in self.refusals]
        return refusal_error(f"network {self.name}", rows)

    def require(self) -> LayerGraph:
        """The layers. Raises DataflowError with all refusals when there are some."""
        if self.refusals:
            raise self.error()
        assert self.graph is not None
        return self.graph
