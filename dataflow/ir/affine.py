"""Affine index expressions such as ``p*2 + r - 1``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Affine:
    """``sum(coefficient * variable) + offset`` over rank variables.

    Attributes:
        terms: (variable, coefficient) pairs, sorted by variable, no zero coefficient.
        offset: the constant part.
    """

    terms: tuple[tuple[str, int], ...] = ()
    offset: int = 0

    @staticmethod
    def of(*parts: Affine | str | int | tuple[str, int]) -> Affine:
        """The sum of the parts: a variable, an integer, (variable, coefficient) or Affine."""
        if len(parts) == 1:  # the common cases, which long networks make by the hundred thousand
            if isinstance(parts[0], Affine):
                return parts[0]
            if isinstance(parts[0], str):
                return Affine(((parts[0], 1),))
        terms: dict[str, int] = {}
        offset = 0
        for part in parts:
            if isinstance(part, int):
                offset += part
                continue
            if isinstance(part, str):
                part = Affine(((part, 1),))
            elif isinstance(part, tuple):
                part = Affine((part,))
            offset += part.offset
            for variable, coefficient in part.terms:
                terms[variable] = terms.get(variable, 0) + coefficient
        return Affine(tuple(sorted((v, c) for v, c in terms.items() if c)), offset)

    def __add__(self, other: Affine | str | int) -> Affine:
        return Affine.of(self, other)

    def __mul__(self, factor: int) -> Affine:
        if factor == 1:
            return self
        terms = tuple((v, c * factor) for v, c in self.terms) if factor else ()
        return Affine(terms, self.offset * factor)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(v for v, _ in self.terms)

    @property
    def variable(self) -> str | None:
        """The variable, when the expression is just that variable; otherwise None."""
        if self.offset == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            return self.terms[0][0]
        return None

    def coefficient(self, variable: str) -> int:
        """The factor of ``variable`` (0 when it does not occur)."""
        return dict(self.terms).get(variable, 0)

    def bounds(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Smallest and largest value when each variable v runs over 0..sizes[v]-1."""
        low = high = self.offset
        for variable, coefficient in self.terms:
            reach = coefficient * max(0, sizes[variable] - 1)
            low, high = low + min(0, reach), high + max(0, reach)
        return low, high

    def substitute(self, values: Mapping[str, Affine]) -> Affine:
        """Each variable that is a key of ``values`` replaced by its value."""
        if not any(v in values for v, _ in self.terms):
            return self
        return Affine.of(
            *(values.get(v, Affine(((v, 1),))) * c for v, c in self.terms), self.offset
        )
