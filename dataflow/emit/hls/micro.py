"""A vector micro-program printed as C++ functions of one element.

Operands are 32-bit patterns; the C++ keeps each value as the type its operation produced and
reinterprets bits only where an operation reads the other type. Without a window the program is one
function of local constants. With a window the registers live in a structure across the
repetitions: ``init``, ``body`` for each window position, ``final``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dataflow.emit.hls.tree import Scope, lines
from dataflow.evaluate.functions import Function
from dataflow.layers.layer import MicroOp, MicroProgram
from dataflow.machine.isa import Op, Operand

Kind = Literal["float", "int32_t"]
Value = tuple[str, Kind]

_ONE, _MINUS_ZERO = 0x3F800000, 0x80000000


@dataclass(frozen=True)
class Element:
    """The functions of one element.

    Attributes:
        code: type and function definitions, in order.
        arguments: names of the int32 arguments, in order: of s0, s1 (or s1_0, s1_1...), p0, p1.
        windowed: three functions with a register structure instead of one.
    """

    code: tuple[Scope, ...]
    arguments: tuple[str, ...]
    windowed: bool


def sources(micro: MicroProgram) -> frozenset[Operand]:
    """Which of S0, S1, P0 and P1 the program reads."""
    used = {o for op in _ops(micro) for o in _operands(op)}
    return frozenset(o for o in (Operand.S0, Operand.S1, Operand.P0, Operand.P1) if o in used)


def second_uses(micro: MicroProgram) -> int:
    """Micro-operations that read S1."""
    return sum(Operand.S1 in _operands(op) for op in _ops(micro))


def computes(micro: MicroProgram) -> bool:
    """Whether the program has functions of the function stage."""
    return any(op.function for op in _ops(micro))


def repeats_each_cycle(micro: MicroProgram) -> bool:
    """Whether the body's registers are ready for the next repetition after a cycle: integers."""
    return all(op.op in (Op.IADD, Op.IMAX, Op.IMIN, Op.MOVE) for op in micro.body)


def _ops(micro: MicroProgram) -> tuple[MicroOp, ...]:
    return micro.init + micro.body + micro.final


def _operands(op: MicroOp) -> tuple[int, ...]:
    """The operands that the operation looks at."""
    if op.op is Op.FMA:
        return (op.a, op.b, op.c)
    single = op.op in (Op.LOOKUP, Op.MOVE) and not op.first_b
    return (op.a,) if single else (op.a, op.b)


def element(prefix: str, micro: MicroProgram, *, windowed: bool, separate_uses: bool) -> Element:
    """Prints ``micro`` as functions whose names start with ``prefix``.

    Args:
        prefix: a C++ identifier, unique in the project.
        micro: the program.
        windowed: the body is repeated.
        separate_uses: each use of S1 reads a word of its own (``s1_0``, ``s1_1``, ...).
    """
    used = sources(micro)
    names = {Operand.S0: "s0", Operand.P0: "p0", Operand.P1: "p1"}
    arguments = [names[o] for o in (Operand.S0,) if o in used]
    if Operand.S1 in used:
        uses = second_uses(micro)
        arguments += [f"s1_{k}" for k in range(uses)] if separate_uses else ["s1"]
    arguments += [names[o] for o in (Operand.P0, Operand.P1) if o in used]
    printer = _Printer(prefix, micro, separate_uses)
    code = printer.windowed(arguments) if windowed else printer.straight(arguments)
    return Element(code, tuple(arguments), windowed)


class _Printer:
    """Prints the operations of one program, tracking what each register holds."""

    def __init__(self, prefix: str, micro: MicroProgram, separate_uses: bool) -> None:
        self.prefix = prefix
        self.micro = micro
        self.separate_uses = separate_uses
        self.registers: dict[int, Value] = {}
        self.use = 0
        self.count = 0

    def straight(self, arguments: list[str]) -> tuple[Scope, ...]:
        """One function of local constants."""
        values: list[tuple[Kind, str, str]] = []
        sunk = ""
        for op in _ops(self.micro):
            name = f"v{self.count}"
            self.count += 1
            text, kind = self._result(op, first="true")
            values.append((kind, name, text))
            if op.dst is not None:
                self.registers[op.dst] = (name, kind)
            if op.sink:
                sunk = _as("int32_t", (name, kind))
        assert sunk, f"{self.prefix}: no micro-operation writes the sink"
        code = [f"return static_cast<uint8_t>({sunk});"]
        for kind, name, text in reversed(values):
            if any(re.search(rf"\b{name}\b", later) for later in code):  # else nobody reads it
                code.insert(0, f"const {kind} {name} = {text};")
        scope = Scope(None, ("INLINE",), list(code))
        scope.head = f"inline uint8_t {self.prefix}_element({_parameters(arguments, scope)})"
        return (*self._table(), scope)

    def windowed(self, arguments: list[str]) -> tuple[Scope, ...]:
        """Functions over a register structure."""
        entry = self._entry_kinds()
        state = f"{self.prefix}_state &"
        parts = []
        for part, ops in (("init", self.micro.init), ("body", self.micro.body)):
            scope = Scope(None, ("INLINE",))
            self._mutate(scope, ops)
            for register, kind in entry.items():
                # The next repetition reads the register as what it held before the first.
                value, now = self.registers.get(register, ("0", kind))
                if now != kind:
                    scope.add(f"state.{_register(register, kind)} = {_as(kind, (value, now))};")
                self.registers[register] = (f"state.{_register(register, kind)}", kind)
            extra = {"state": state} | ({} if part == "init" else {"first": "bool "})
            parameters = _parameters(arguments, scope, extra)
            scope.head = f"inline void {self.prefix}_{part}({parameters})"
            parts.append(scope)
        final = Scope(None, ("INLINE",))
        self._mutate(final, self.micro.final)
        final.add("return state.out;")
        parameters = _parameters(arguments, final, {"state": state})
        final.head = f"inline uint8_t {self.prefix}_final({parameters})"
        return (*self._table(), self._state([*parts, final]), *parts, final)

    def _state(self, functions: list[Scope]) -> Scope:
        """The structure of the registers that the functions use."""
        text = " ".join(line for scope in functions for line in lines(scope))
        held = Scope(f"struct {self.prefix}_state", end="};")
        kinds: tuple[Kind, Kind] = ("float", "int32_t")
        for number in sorted({op.dst for op in _ops(self.micro) if op.dst is not None}):
            for kind in kinds:
                if f"state.{_register(number, kind)}" in text:
                    held.add(f"{kind} {_register(number, kind)} = 0;")
        held.add("uint8_t out = 0;")
        return held

    def _entry_kinds(self) -> dict[int, Kind]:
        """The type of each register between repetitions: what the body leaves in it."""
        probe = _Printer(self.prefix, self.micro, self.separate_uses)
        for ops in (self.micro.init, self.micro.body, self.micro.body):
            probe._mutate(Scope(), ops)
            probe.use = 0
        return {r: kind for r, (_, kind) in probe.registers.items()}

    def _mutate(self, scope: Scope, ops: Iterable[MicroOp]) -> None:
        for op in ops:
            text, kind = self._result(op, first="first")
            name = f"v{self.count}"
            self.count += 1
            scope.add(f"const {kind} {name} = {text};")
            if op.dst is not None:
                target = f"state.{_register(op.dst, kind)}"
                scope.add(f"{target} = {name};")
                self.registers[op.dst] = (target, kind)
            if op.sink:
                scope.add(f"state.out = static_cast<uint8_t>({_as('int32_t', (name, kind))});")

    def _result(self, op: MicroOp, first: str) -> Value:
        """The value of one operation."""
        uses_second = Operand.S1 in _operands(op)
        a = self._operand(op.a, op.a_float, op.a_negate)
        b = self._operand(op.b, op.b_float, op.b_negate)
        c = self._operand(op.c, False, op.c_negate)
        self.use += uses_second
        text, kind = self._compute(op, a, b, c)
        if op.first_b:
            other = _as(kind, b)
            text = other if first == "true" else f"{first} ? {other} : {text}"
        if op.to_int is not None and kind == "float":
            zero, low, high = op.to_int
            return f"df::to_int({text}, {zero}, {low}, {high})", "int32_t"
        return text, kind

    def _compute(self, op: MicroOp, a: Value, b: Value, c: Value) -> Value:
        if op.function is not Function.IDENTITY:
            return self._function(op, a, b, c)
        if op.op is Op.FMA:
            return self._fma(op, _as("float", a), _as("float", b), _as("float", c))
        if op.op in (Op.FMAX, Op.FMIN):
            name = "max_f32" if op.op is Op.FMAX else "min_f32"
            return f"df::{name}({_as('float', a)}, {_as('float', b)})", "float"
        if op.op in (Op.IADD, Op.IMAX, Op.IMIN):
            name = {Op.IADD: "add_i32", Op.IMAX: "max_i32", Op.IMIN: "min_i32"}[op.op]
            return f"df::{name}({_as('int32_t', a)}, {_as('int32_t', b)})", "int32_t"
        if op.op is Op.LOOKUP:
            return f"{self.prefix}_table({_as('int32_t', a)} & 255)", "int32_t"
        assert op.op is Op.MOVE, f"unknown micro-operation {op.op}"
        return a

    def _function(self, op: MicroOp, a: Value, b: Value, c: Value) -> Value:
        """f(a * b + c); the scale of exp2 is c, and there is no addend."""
        scaled = op.function is Function.EXP2
        floats = [_as("float", v) for v in (a, b, c)]
        inner = f"{floats[0]} * {floats[1]}" if scaled else self._fma(op, *floats)[0]
        scale = _as("int32_t", c) if scaled else "0"
        name = f"df::Function{op.function.name.capitalize()}"
        return f"df::function_f32({name}, {inner}, {scale})", "float"

    def _fma(self, op: MicroOp, a: str, b: str, c: str) -> Value:
        """a * b + c; the special cases are the same function for every a, b and c."""
        if op.c == Operand.MINUS_ZERO and not op.c_negate:
            return f"{a} * {b}", "float"
        if op.b == Operand.ONE and not op.b_float and not op.b_negate:
            return f"{a} + {c}", "float"
        return f"df::fma_f32({a}, {b}, {c})", "float"

    def _operand(self, selector: int, convert: bool, negate: bool) -> Value:
        value = self._plain(selector)
        if convert:
            value = (f"df::to_f32({_as('int32_t', value)})", "float")
        if negate:
            value = (f"-({_as('float', value)})", "float")
        return value

    def _plain(self, selector: int) -> Value:
        if selector <= Operand.R3:
            return self.registers.get(selector, ("0", "int32_t"))
        if selector == Operand.S1:
            return (f"s1_{self.use}" if self.separate_uses else "s1"), "int32_t"
        for source, name in ((Operand.S0, "s0"), (Operand.P0, "p0"), (Operand.P1, "p1")):
            if selector == source:
                return name, "int32_t"
        pattern = {Operand.ZERO: 0, Operand.ONE: _ONE, Operand.MINUS_ZERO: _MINUS_ZERO}.get(
            Operand(selector) if selector >= Operand.ZERO else Operand.K0
        )
        if pattern is None:
            pattern = self.micro.constants[selector - Operand.K0]
        return str(np.uint32(pattern).astype(np.int32)), "int32_t"

    def _table(self) -> tuple[Scope, ...]:
        if self.micro.table is None:
            return ()
        codes = self.micro.table
        rows = [", ".join(map(str, codes[i : i + 16])) + "," for i in range(0, 256, 16)]
        head = f"inline int32_t {self.prefix}_table(int32_t code)"
        # All lanes look up in the same cycle: logic, not one memory with two ports.
        pragma = "#pragma HLS ARRAY_PARTITION variable=codes dim=1 type=complete"
        table = Scope("static const uint8_t codes[256] =", (), list(rows), end="};")
        return (Scope(head, ("INLINE",), [table, pragma, "return codes[code];"]),)


def _register(number: int, kind: Kind) -> str:
    return f"r{number}_{'f' if kind == 'float' else 'i'}"


def _parameters(arguments: list[str], body: Scope, extra: Mapping[str, str] | None = None) -> str:
    """The parameters of a function; one that the body does not use has no name."""
    text = " ".join(lines(body))
    kinds = {**(extra or {}), **dict.fromkeys(arguments, "int32_t ")}
    used = {name for name in kinds if re.search(rf"\b{name}\b", text)}
    return ", ".join(
        f"{kind}{name if name in used else ''}".strip() for name, kind in kinds.items()
    )


def _as(kind: Kind, value: Value) -> str:
    """The value as a C++ expression of type ``kind``, bits reinterpreted where types differ."""
    text, now = value
    if now == kind:
        return text
    constant = text.lstrip("-").isdigit()
    if kind == "float":
        return _literal(int(text)) if constant else f"df::as_f32({text})"
    return f"df::as_i32({text})"


def _literal(bits: int) -> str:
    """A binary32 pattern as a float literal: nine digits determine it."""
    value = np.int32(bits).view(np.float32)
    if not np.isfinite(value):
        return f"df::as_f32({bits})"
    text = f"{value:.9g}"
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"
