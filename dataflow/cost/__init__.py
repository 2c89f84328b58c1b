"""The general cost model: Workload x Mapping x Architecture -> exact counts, energy, time."""

from dataflow.cost.columns import Chain, Column, Cut, Once, evaluate
from dataflow.cost.counts import Counter, Counts, Moved
from dataflow.cost.evaluate import BlockTime, Cost, cost, leakage_pj, mac_units
from dataflow.cost.terms import Term, Transfer, transfers

__all__ = [
    "BlockTime",
    "Chain",
    "Column",
    "Cost",
    "Counter",
    "Counts",
    "Cut",
    "Moved",
    "Once",
    "Term",
    "Transfer",
    "cost",
    "evaluate",
    "leakage_pj",
    "mac_units",
    "transfers",
]
