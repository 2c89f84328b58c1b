"""Small machines and Einsums posed by hand: the numbers of the cost model's golden cases."""

from __future__ import annotations

from itertools import product

from dataflow.search import Channel, Fan, Level, Operand, Problem, Unit

MATMUL = (
    Operand("A", ((("m", 1),), (("k", 1),))),
    Operand("B", ((("k", 1),), (("n", 1),))),
    Operand("C", ((("m", 1),), (("n", 1),)), output=True),
)
CONV = (
    Operand("A", ((("c", 1),), (("p", 1), ("r", 1)), (("q", 1), ("s", 1)))),
    Operand("B", ((("r", 1),), (("s", 1),), (("c", 1),), (("m", 1),))),
    Operand("C", ((("p", 1),), (("q", 1),), (("m", 1),)), output=True),
)
CONV_14 = {"p": 14, "q": 14, "c": 16, "m": 16, "r": 3, "s": 3}


def cube(size: int) -> dict[str, int]:
    return {"m": size, "n": size, "k": size}


def level(
    name: str,
    words: int | None,
    read: float,
    write: float,
    rate: float | None = None,
    must: str = "",
    may: str = "ABC",
) -> Level:
    """A memory of 8-bit words; ``rate`` words a cycle shared by reads and writes."""
    every = dict.fromkeys("ABC", 0.0)
    kinds = product("ABC", ("read", "write"), ("low", "high"))
    channel = Channel("any", dict.fromkeys(kinds, 1 / rate)) if rate else None
    return Level(
        name,
        None if words is None else words * 8,
        frozenset(must),
        frozenset(may),
        dict.fromkeys(every, 8),
        dict.fromkeys(every, read),
        dict.fromkeys(every, write),
        (channel,) if channel else (),
    )


def fan(name: str, size: int, reuse: str, operands: tuple[Operand, ...] = MATMUL) -> Fan:
    """A fan-out on which one tensor is reused and no loop that indexes it may stand."""
    tensor = next(o for o in operands if o.name == reuse)
    free = {v for o in operands for v in o.variables} - tensor.variables
    return Fan(name, size, frozenset(free), frozenset(reuse))


def golden(
    sizes: dict[str, int],
    words: int,
    side: int = 1,
    register: bool = False,
    operands: tuple[Operand, ...] = MATMUL,
) -> Problem:
    """G1, G2, G6, G8: DRAM, one buffer that has to hold all, an array, maybe weight registers."""
    path: list[Level | Fan] = [
        level("DRAM", None, 64, 64, 8, must="ABC"),
        level("GlobalBuffer", words, 2, 2, 32, must="ABC"),
    ]
    if side > 1:
        path += [fan("Y", side, "C", operands), fan("X", side, "A", operands)]
    if register:
        path.append(level("Register", 1, 0.05, 0.05, must="B", may="B"))
    return Problem(sizes, operands, tuple(path), Unit("MAC", 1, 0.5))
