"""A small tree of C++ statements and integer expressions, printed last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

WIDTH = 100


@dataclass
class Scope:
    """A statement list, possibly under a head (``for (...)``) that opens a brace.

    Attributes:
        head: the line before the brace, or None for a list without braces.
        pragmas: directives, which stand at the margin directly behind the head.
        body: lines and nested scopes, in order.
        end: the line that closes a head's brace.
    """

    head: str | None = None
    pragmas: tuple[str, ...] = ()
    body: list[str | Scope] = field(default_factory=list)
    end: str = "}"

    def add(self, *lines: str | Scope) -> None:
        """Appends statements."""
        self.body.extend(lines)

    def loop(
        self, var: str, start: str, stop: str, step: int, trips: tuple[int, int], *pragmas: str
    ) -> Scope:
        """Opens ``for (int var = start; var < stop; var += step)`` at the end and returns it.

        Args:
            trips: smallest and largest number of iterations, for the tool's latency report.
            pragmas: further directives of the loop.
        """
        advance = f"++{var}" if step == 1 else f"{var} += {step}"
        inner = Scope(
            f"for (int {var} = {start}; {var} < {stop}; {advance})",
            (f"LOOP_TRIPCOUNT min={trips[0]} max={trips[1]}", *pragmas),
        )
        self.body.append(inner)
        return inner

    def lanes(self, var: str, stop: str, *body: str) -> None:
        """A fully unrolled loop over hardware lanes."""
        self.body.append(
            Scope(f"for (int {var} = 0; {var} < {stop}; ++{var})", ("UNROLL",), list(body))
        )

    def assign(self, kind: str, name: str, fields: Sequence[tuple[str, str]]) -> None:
        """A zeroed structure with the fields that are not zero assigned."""
        self.add(f"{kind} {name} = {kind}();")
        self.add(*(f"{name}.{key} = {value};" for key, value in fields if value != "0"))


def lines(scope: Scope, indent: int = 0) -> Iterator[str]:
    """The printed lines of a scope."""
    inner = indent
    if scope.head is not None:
        yield from _wrapped(f"{scope.head} {{", indent)
        inner += 2
    yield from (f"#pragma HLS {pragma}" for pragma in scope.pragmas)
    for item in scope.body:
        if isinstance(item, Scope):
            yield from lines(item, inner)
        elif item.startswith("#"):
            yield item
        else:
            yield from _wrapped(item, inner)
    if scope.head is not None:
        yield " " * indent + scope.end


def _wrapped(text: str, indent: int) -> Iterator[str]:
    """A statement broken behind blanks so that it fits the page."""
    margin, room = " " * indent, WIDTH - indent
    while len(text) > room:
        cut = text.rfind(", ", 0, room) + 1  # between arguments, if that fills the line half
        if cut < room // 2:
            cut = text.rfind(" ", 0, room)
        if cut <= 0 or text.startswith("//"):
            break
        yield margin + text[:cut]
        text, margin, room = text[cut + 1 :], " " * (indent + 4), WIDTH - indent - 4
    yield margin + text


def times(expr: str, factor: int) -> str:
    """``expr * factor``, folded where it is constant."""
    if factor == 0 or expr == "0":
        return "0"
    if expr.lstrip("-").isdigit():
        return str(int(expr) * factor)
    text = f"({expr})" if any(sign in expr for sign in (" + ", " - ", " / ", " ? ")) else expr
    return text if factor == 1 else f"{text} * {factor}"


def wide(expr: str, factor: int) -> str:
    """``expr * factor`` as a byte address: 64 bits wide where it is not constant."""
    if factor == 0 or expr == "0":
        return "0"
    if expr.lstrip("-").isdigit():
        return str(int(expr) * factor)
    return times(f"df::addr_t({expr})", factor)


def plus(*parts: str | int) -> str:
    """The sum of expressions, constants folded and last."""
    constant, terms = 0, []
    for part in parts:
        text = str(part)
        if text.lstrip("-").isdigit():
            constant += int(text)
        else:
            terms.append(text)
    if not terms:
        return str(constant)
    text = " + ".join(terms)
    if constant:
        text += f" {'+' if constant > 0 else '-'} {abs(constant)}"
    return text
