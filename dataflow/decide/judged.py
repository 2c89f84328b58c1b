"""A model that was lowered, with what became of each of its nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from dataflow.decide.rows import NodeDecision, node_rows
from dataflow.decide.units import placed
from dataflow.frontend import Imported
from dataflow.ir.cascade import Cascade
from dataflow.lower.lower import Lowered, layers_of
from dataflow.lower.pipeline import MACHINE
from dataflow.lower.refusal import Refused
from dataflow.machine import Machine
from dataflow.mapper import busy_cycles
from dataflow.rewrite.legal import (
    NO_PRODUCTS,
    NORM_WORDS,
    ROW_SUMS,
    SOFTMAX_WORDS,
    Products,
    inexact_operators,
    legalisation,
)
from dataflow.rewrite.passes import Stage, run_passes
from dataflow.rewrite.row_sums import row_sums


@dataclass(frozen=True, eq=False)
class Judged:
    """An imported model and its layers.

    Attributes:
        stages: the Cascade after each pass of the pipeline.
        rows: of the nodes, in graph order, then of those that no output needs.
    """

    imported: Imported
    stages: tuple[Stage, ...]
    lowered: Lowered
    rows: tuple[NodeDecision, ...]

    @classmethod
    def of(cls, imported: Imported, machine: Machine, *, literal: bool = False) -> Judged:
        """Lowers a model; ``literal``: without the rewrites that change rounding."""
        stages, lowered = lowered_of(imported.cascade, machine, literal=literal)
        cascades = [imported.cascade, *(s.cascade for s in stages)]
        found = placed(cascades, lowered.graph.layers, lowered.refused)
        return cls(imported, stages, lowered, node_rows(imported, found))


def lowered_of(
    cascade: Cascade, machine: Machine, *, literal: bool = False
) -> tuple[tuple[Stage, ...], Lowered]:
    """The Cascade after each pass of the pipeline, and its layers.

    Sums over rows are made in the form whose layers take fewer cycles, about.
    """
    products = NO_PRODUCTS
    stages, found = lowered_as(cascade, machine, products, literal=literal)
    made = {stage.name: stage for stage in stages}
    forms: dict[str, Callable[[Products], Products]] = {}
    if SOFTMAX_WORDS in made and made[SOFTMAX_WORDS].changed:
        forms[SOFTMAX_WORDS] = lambda form: replace(form, softmax=machine.cols)
    if NORM_WORDS in made and made[NORM_WORDS].changed:
        forms[NORM_WORDS] = lambda form: replace(form, norm=True)
    if ROW_SUMS in made and row_sums(made[ROW_SUMS].cascade) is not made[ROW_SUMS].cascade:
        forms[ROW_SUMS] = lambda form: replace(form, sums=True)
    for changed in forms.values():
        other = changed(products)
        trial, layers = lowered_as(cascade, machine, other, literal=literal)
        if _work(layers, machine) < _work(found, machine):
            stages, found, products = trial, layers, other
    return stages, found


LAYER = 150
"""Cycles of a layer besides its work, about: its instructions, and engines that wait for others."""


def _work(lowered: Lowered, machine: Machine) -> tuple[int, int]:
    """What to have little of: refusals, then cycles."""
    layers = lowered.graph.layers
    return len(lowered.refused), busy_cycles(lowered.graph, machine) + LAYER * len(layers)


def lowered_as(
    cascade: Cascade, machine: Machine, products: Products, *, literal: bool = False
) -> tuple[tuple[Stage, ...], Lowered]:
    """The same with the sums over rows in a given form."""
    first = legalisation(literal=literal, functions=machine.functions > 0, products=products)
    stages = run_passes(cascade, (*first, *MACHINE))
    legal = stages[len(first) - 1].cascade
    lowered = layers_of(legal, stages[-1].cascade)
    known = {name for r in lowered.refused for name in r.einsums}
    inexact = [
        Refused(
            (e.name,),
            e.source,
            e.operator,
            f"uses {', '.join(names)} in float32, which has no exact algorithm",
            "quantise the model so that it becomes a table, or leave it at the end",
        )
        for e in legal.einsums
        if e.name not in known and (names := inexact_operators(e))
    ]
    return stages, replace(lowered, refused=(*lowered.refused, *inexact))
