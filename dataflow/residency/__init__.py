"""What of a network's tensors lies on chip when: plans with a bound, for whole networks."""

from dataflow.residency.document import document
from dataflow.residency.flows import Rules
from dataflow.residency.least import bound
from dataflow.residency.network import schedule_of
from dataflow.residency.order import least_peak, peak, reordered
from dataflow.residency.patches import Patches
from dataflow.residency.planning import METHODS, Method, Plan, compare, plan
from dataflow.residency.profile import Costs, Profile, Transfer, costs
from dataflow.residency.recompute import Clone, recomputed
from dataflow.residency.roofline import Array
from dataflow.residency.schedule import Access, Life, Machine, Schedule, Step, Tensor
from dataflow.residency.stage import best_lines

__all__ = [
    "METHODS",
    "Access",
    "Array",
    "Clone",
    "Costs",
    "Life",
    "Machine",
    "Method",
    "Patches",
    "Plan",
    "Profile",
    "Rules",
    "Schedule",
    "Step",
    "Tensor",
    "Transfer",
    "best_lines",
    "bound",
    "compare",
    "costs",
    "document",
    "least_peak",
    "peak",
    "plan",
    "recomputed",
    "reordered",
    "schedule_of",
]
