"""The mapper's search: the best loop tree for an Einsum on any machine, with a bound.

``problem`` says what is asked, in plain numbers; ``skeleton`` lists the orders of holds; ``chains``
the tiles; ``tables``, ``products`` and ``columns`` turn both into columns; ``join`` finds the best.
"""

from dataflow.search.chains import EVERY, PERFECT, QUOTIENTS
from dataflow.search.problem import Channel, Fan, Level, Operand, Problem, Unit
from dataflow.search.single import Solution, frame, search

__all__ = [
    "EVERY",
    "PERFECT",
    "QUOTIENTS",
    "Channel",
    "Fan",
    "Level",
    "Operand",
    "Problem",
    "Solution",
    "Unit",
    "frame",
    "search",
]
