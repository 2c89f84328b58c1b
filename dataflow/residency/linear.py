"""A linear program, column by column and row by row, for OR-Tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import sparse

INF = float("inf")
Row = Mapping[int, float]
"""Coefficients by column."""
Values = npt.NDArray[np.float64]


class UnsolvedError(Exception):
    """The solver found no optimum."""


@dataclass(frozen=True)
class Optimum:
    """The columns' values, and a lower bound of the objective that they are proven against."""

    values: Values
    bound: float


@dataclass
class Program:
    """Columns with finite bounds, rows with bounds."""

    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    rows: list[tuple[Row, float, float]] = field(default_factory=list)

    def column(self, low: float, high: float) -> int:
        """A new column; its index."""
        self.low.append(low)
        self.high.append(high)
        return len(self.low) - 1

    def row(self, terms: Row, low: float, high: float) -> None:
        """A new row: low <= terms <= high."""
        self.rows.append((terms, low, high))

    def least(
        self, objective: Row, integer: frozenset[int] = frozenset(), nodes: int = 0
    ) -> Optimum:
        """The least objective: by GLOP, or by SCIP where columns are whole numbers.

        Args:
            integer: columns that are whole numbers.
            nodes: branches before the best that was found is taken; 0: until it is proven.

        Raises:
            UnsolvedError: nothing was found.
        """
        from ortools.linear_solver.python import model_builder_helper as helper

        matrix = self._matrix()
        cost = np.zeros(len(self.low))
        cost[list(objective)] = list(objective.values())
        low, high = (np.array(side, float) for side in (self.low, self.high))
        least, most = (np.array([row[i] for row in self.rows], float) for i in (1, 2))
        model = helper.ModelBuilderHelper()
        model.fill_model_from_sparse_data(low, high, cost, least, most, matrix)  # type: ignore[arg-type]
        for j in sorted(integer):
            model.set_var_integrality(j, True)
        solver = helper.ModelSolverHelper("scip" if integer else "glop")
        if integer and nodes:
            solver.set_solver_specific_parameters(f"limits/nodes = {nodes}")
        solver.solve(model)
        if not solver.has_solution():
            raise UnsolvedError(str(solver.status()))
        values = np.array(solver.variable_values(), float)
        if integer:
            return Optimum(values, float(solver.best_objective_bound()))
        duals = np.array(solver.dual_values(), float)
        duals = np.where(duals > 0, np.where(least == -INF, 0, duals), duals)
        duals = np.where(duals < 0, np.where(most == INF, 0, duals), duals)
        return Optimum(values, _dual_bound(matrix, cost, (low, high), (least, most), duals))

    def _matrix(self) -> sparse.csr_matrix:
        counts = [len(terms) for terms, _, _ in self.rows]
        index = np.repeat(np.arange(len(counts)), counts)
        column = np.fromiter((j for terms, _, _ in self.rows for j in terms), int, sum(counts))
        value = np.fromiter((c for terms, _, _ in self.rows for c in terms.values()), float)
        return sparse.csr_matrix((value, (index, column)), shape=(len(counts), len(self.low)))


def _dual_bound(
    matrix: sparse.csr_matrix,
    cost: Values,
    columns: tuple[Values, Values],
    rows: tuple[Values, Values],
    duals: Values,
) -> float:
    """The bound that any duals prove, whatever the tolerance of the solver that found them."""
    bounding = np.where(duals > 0, rows[0], np.where(duals < 0, rows[1], 0.0))
    reduced = cost - matrix.T @ duals
    at = np.where(reduced > 0, columns[0], columns[1])
    return float(duals @ bounding + reduced @ at)
