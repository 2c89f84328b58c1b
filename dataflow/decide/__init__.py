"""Where each operator of a model runs, or why not: what `check` says and `compile` does."""

from dataflow.decide.decide import decide, decide_cascade
from dataflow.decide.floats import judge
from dataflow.decide.host import HOST_MODES, HostMode, HostWork
from dataflow.decide.rows import NodeDecision, stayed_float
from dataflow.decide.verdict import Refusal, Verdict

__all__ = [
    "HOST_MODES",
    "HostMode",
    "HostWork",
    "NodeDecision",
    "Refusal",
    "Verdict",
    "decide",
    "decide_cascade",
    "judge",
    "stayed_float",
]
