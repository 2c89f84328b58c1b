"""The vector part of a layer: which operands its expression reads, and its micro-program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from dataflow.evaluate.primitives import compute
from dataflow.ir.cascade import Cascade
from dataflow.ir.dtype import S32, DType
from dataflow.ir.expr import Access, Call, Const, Expr, Index, accesses, map_accesses, walk
from dataflow.ir.ops import OPS, STAGED
from dataflow.layers.layer import MicroProgram, Storage
from dataflow.lower.assemble import Node, Result, assemble
from dataflow.lower.emitter import Leaf, Value
from dataflow.lower.micro import Compiler, low_byte
from dataflow.lower.points import Points
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.strides import Strided, strided
from dataflow.machine.isa import Op, Operand
from dataflow.rewrite.words import is_word

Array = np.ndarray

INT_MIN = -(1 << 31)
WORD = 4  # bytes


@dataclass
class Operands:
    """What the accesses of a layer's expressions are.

    Attributes:
        points: axes of the output.
        reduced: access that stands for the head's result (accumulator or window register).
        source: the activation that becomes S0 (vector layers), else None.
        second: the activation or byte constant that becomes S1, once one is met.
        leaves: what was decided so far.
        rows: the first bytes of the words that S1 reads for each point, one after the other.
        flat: the layer has no channels.
    """

    cascade: Cascade
    storage: Mapping[str, Storage]
    points: Points
    reduced: Access | None
    source: Access | None
    constants: dict[str, tuple[Access, Array]] = field(default_factory=dict)
    second: Access | None = None
    leaves: dict[Access, Leaf] = field(default_factory=dict)
    rows: tuple[Access, ...] = ()
    flat: bool = False

    @property
    def channels(self) -> int:
        """Numbers of a line of parameters; 0 where there is none."""
        return 0 if self.flat else self.points.chan.size

    def with_rows(self, expr: Expr) -> Expr:
        """The expression with each word that it reads as one access, of its first byte."""
        found: dict[Access, None] = {}
        expr = _with_words(expr, found)
        self.rows = tuple(sorted(found, key=lambda word: word.indices[-1].offset))
        if self.rows:
            first = self.rows[0]
            self._take_second(first)
            for number, word in enumerate(self.rows):
                step = replace(first.indices[-1], offset=first.indices[-1].offset + WORD * number)
                if word != Access(first.tensor, (*first.indices[:-1], step)):
                    raise CannotFuse(
                        "reads words of several rows", "normalise over one set of ranks at a time"
                    )
        return expr

    def leaf(self, access: Access) -> Leaf:
        """What an access is; CannotFuse when the layer has no way to read it."""
        if access not in self.leaves:
            self.leaves[access] = self._decide(access)
        return self.leaves[access]

    def _decide(self, access: Access) -> Leaf:
        tensor = self.cascade.tensors[access.tensor]
        if access in self.rows:
            return Leaf("row", S32, 0, (1 << 24) - 1)
        if access == self.reduced:
            return Leaf("s0", tensor.dtype)
        if access.tensor in self.cascade.constants:
            return self._constant(access, tensor.dtype)
        if not (tensor.dtype.is_int and tensor.dtype.bits == 8):
            raise CannotFuse(
                f"reads {access.tensor} as {tensor.dtype} beside codes",
                "quantise this operand",
                access.tensor,
            )
        low, high = tensor.dtype.lowest, tensor.dtype.highest
        if access == self.source:
            return Leaf("s0", tensor.dtype, low, high)
        self._take_second(access)
        return Leaf("s1", tensor.dtype, low, high)

    def _take_second(self, access: Access) -> None:
        if self.second not in (None, access):
            raise CannotFuse(
                "reads more than two activations at once",
                "quantise the result of two of them before the third joins",
            )
        if any(leaf.kind == "word" for leaf in self.leaves.values()):
            raise CannotFuse(
                "reads a constant map of 32-bit numbers before a second activation",
                "quantise the constant map to 8-bit codes",
            )
        self.second = access

    def _constant(self, access: Access, dtype: DType) -> Leaf:
        data = np.asarray(self.cascade.constants[access.tensor])
        line = self.points.per_channel(access, data)
        if line is not None:
            wide = line.astype(np.float32) if dtype.is_float else line.astype(np.int32)
            limits = (0, 0) if dtype.is_float else (int(wide.min()), int(wide.max()))
            kind = DType("float", True, 32) if dtype.is_float else S32
            return Leaf("param", kind, *limits, data=wide)
        if dtype.is_int and dtype.bits == 8:
            self._take_second(access)
            return Leaf("s1", dtype, dtype.lowest, dtype.highest)
        numbers = self.points.per_point(access, data)
        if numbers is None:
            raise CannotFuse(
                f"reads {access.tensor}, 32-bit numbers that vary over points and channels",
                "make this constant 8-bit codes with DequantizeLinear behind them",
            )
        if self.second is not None:
            raise CannotFuse(
                "reads a constant map of 32-bit numbers behind a second activation",
                "quantise the constant map, or apply it before the second activation joins",
            )
        wide = numbers.astype(np.float32) if dtype.is_float else numbers.astype(np.int32)
        kind = DType("float", True, 32) if dtype.is_float else S32
        return Leaf("word", kind, data=wide)

    def table(self, tensor: str) -> Array:
        """Data of a table operand; one that is computed was refused before."""
        return np.asarray(self.cascade.constants[tensor])

    def strided(self, access: Access) -> Strided:
        """Strides of an activation."""
        return strided(access, self.storage[access.tensor])


def _with_words(expr: Expr, found: dict[Access, None]) -> Expr:
    word = is_word(expr)
    if word is not None:
        found[word] = None
        return word
    if not isinstance(expr, Call):
        return expr
    args = tuple(_with_words(a, found) for a in expr.args)
    return expr if args == expr.args else replace(expr, args=args)


@dataclass(frozen=True)
class Epilogue:
    """A layer's vector part.

    Attributes:
        micro: the program.
        params: numbers per channel, int32 or float32, at most two.
        bias: whether the first of them is added to the accumulator as it is read.
        source_zero, second_zero: zero points that the sources subtract.
        words: per-point numbers in the order of use.
        second: the access of S1, if any.
        pad_value: value of S0 outside the tensor.
    """

    micro: MicroProgram
    params: tuple[Array, ...]
    bias: bool
    source_zero: int
    second_zero: int
    words: tuple[Array, ...]
    second: Access | None
    pad_value: int


def scalars(expr: Expr, cascade: Cascade, sizes: Mapping[str, int]) -> Expr:
    """The expression with constants of one element as literals."""

    def change(access: Access) -> Expr:
        if access.tensor not in cascade.constants or not access.indices:
            data = cascade.constants.get(access.tensor)
            if data is None or np.asarray(data).size != 1:
                return access
        data = np.asarray(cascade.constants[access.tensor])
        if any(sizes[v] > 1 for v in access.variables):
            return access
        if not access.indices and data.size != 1:
            return access
        element = data[tuple(i.offset for i in access.indices)] if access.indices else data
        dtype = cascade.tensors[access.tensor].dtype
        kind = dtype if dtype.is_float else S32
        return Const(element.item(), kind)

    return map_accesses(expr, change)


def compile_epilogue(operands: Operands, expr: Expr, *, on_array: bool) -> Epilogue:
    """The program of an array layer's vector part, or of an elementwise layer."""
    compiler = Compiler(operands.leaf, operands.table, channels=operands.channels)
    _refuse_functions(expr)
    expr = operands.with_rows(low_byte(expr))
    bias = None
    if on_array and operands.reduced is not None:
        expr, bias = _with_bias(operands, expr)
        if bias is not None:
            compiler.params.append(bias)
    compiler.fold_zero_points(expr)
    for word in operands.rows:  # in the order in which they lie
        number = number_of(word, expr)
        compiler.direct |= {word} if number != word else set()
        compiler.compile(number)
    value = compiler.compile(expr)
    return _finish(operands, compiler, value, bias is not None, 0)


def number_of(word: Access, expr: Expr) -> Expr:
    """What an expression makes of a word before anything else, the same at every use.

    The word itself unless it is multiplied, with at most a conversion before: that reads it once,
    where it arrives. Functions may follow.
    """
    found, multiplied = cast(Expr, word), False
    while True:
        uses = [e for e in walk(expr) if isinstance(e, Call) and found in e.args]
        if not uses or any(e != uses[0] for e in uses) or uses[0].args[0] != found:
            break
        op, *others = uses[0].op, *uses[0].args[1:]
        if not all(isinstance(arg, Const) for arg in others):
            break
        if op not in ("mul", "fma", *(STAGED if multiplied else ("f32",))):
            break
        found, multiplied = uses[0], multiplied or op != "f32"
    return found if multiplied else word


def _refuse_functions(expr: Expr) -> None:
    """Raises CannotFuse, by name, for functions that only tables compute."""
    calls = [e for e in walk(expr) if isinstance(e, Call) and e.op in OPS and not OPS[e.op].exact]
    if not calls:
        return
    refusal = CannotFuse(
        f"computes {', '.join(sorted({e.op for e in calls}))} of numbers that are no 8-bit codes",
        "quantise before it, so that it is a table",
    )
    refusal.at = calls[-1]
    raise refusal


def compile_window(
    operands: Operands, op: str, body: Expr, expr: Expr, *, padded: bool
) -> Epilogue:
    """The program of a windowed reduction: ``expr`` reads the folded ``body``."""
    compiler = Compiler(operands.leaf, operands.table, channels=operands.channels)
    expr = low_byte(expr)
    assert operands.reduced is not None
    result_type = operands.cascade.tensors[operands.reduced.tensor].dtype
    compiler.fold_zero_points(body)
    value = compiler.compile(body)
    pad = _pad_value(operands, compiler, op, body) if padded else 0
    if value.negate or (result_type.is_float and not value.is_float):
        value = compiler.converted(value)
    at = len(compiler.code.nodes)
    own = Result(at)
    if op == "add" and value.is_float:
        node = Node(Op.FMA, a=Operand.ONE, b=value.ref, c=own, first_b=True)
    else:
        kinds = {
            ("add", False): Op.IADD,
            ("max", False): Op.IMAX,
            ("min", False): Op.IMIN,
            ("max", True): Op.FMAX,
            ("min", True): Op.FMIN,
        }
        if (op, value.is_float) not in kinds:
            raise CannotFuse(
                f"reduces with {op}, which no lane accumulates",
                "reduce with a sum, a maximum or a minimum",
            )
        node = Node(kinds[op, value.is_float], a=own, b=value.ref, first_b=True)
    compiler.code.add(node)
    compiler.code.body = at + 1
    # Values of the body are not known outside it: the final part runs once.
    compiler.known = {operands.reduced: Value(own, value.is_float)}
    for access in accesses(expr):
        if access == operands.reduced or not access.indices:
            continue
        if operands.leaf(access).kind == "s0":
            raise CannotFuse(
                "reads the pooled tensor again behind the pooling",
                "quantise the result of the pooling first",
            )
    zeros = dict(compiler.zeros)
    compiler.fold_zero_points(expr)
    compiler.zeros.update(zeros)
    compiler.zeros.pop(operands.reduced, None)
    compiler.known[operands.reduced] = Value(own, value.is_float)
    final = compiler.compile(expr)
    return _finish(operands, compiler, final, False, pad)


def _pad_value(operands: Operands, compiler: Compiler, op: str, body: Expr) -> int:
    """S0 outside the tensor, so that a skipped point adds nothing."""
    if op == "max":
        if not isinstance(body, Access):
            raise CannotFuse(
                "takes a padded maximum of computed numbers", "quantise before the pooling"
            )
        return INT_MIN
    if op == "min":
        if not isinstance(body, Access):
            raise CannotFuse(
                "takes a padded minimum of computed numbers", "quantise in front of the pooling"
            )
        return -INT_MIN - 1
    if np.any(_at_zero(operands, body, compiler.zero_of("s0")) != 0):
        raise CannotFuse(
            "sums numbers with padding that are not 0 at the zero point",
            "pad explicitly before the function, or quantise between function and pooling",
        )
    return 0


def _at_zero(operands: Operands, expr: Expr, code: int) -> Array:
    """The body's values when the source holds its zero point ``code``, for every number that its
    other operands take: axes are codes of a second source, b, p, q of words, channels."""
    if isinstance(expr, Const):
        return np.array(expr.value, np.int32 if expr.dtype.is_int else np.float32)
    if isinstance(expr, Access):
        leaf = operands.leaf(expr)
        if leaf.kind == "s0":
            return np.array(code, np.int32)
        if leaf.kind == "s1":
            codes = np.arange(leaf.low, leaf.high + 1, dtype=np.int32)
            return codes.reshape(-1, 1, 1, 1, 1)
        assert leaf.data is not None
        return leaf.data if leaf.kind == "param" else leaf.data[..., None]
    assert not isinstance(expr, Index)  # refused before lowering
    if expr.op == "lookup":
        raise CannotFuse(
            "sums table entries with padding", "pad explicitly, with a Pad node before the pooling"
        )
    return np.asarray(compute(expr.op, [_at_zero(operands, arg, code) for arg in expr.args]))


def _finish(operands: Operands, compiler: Compiler, value: Value, bias: bool, pad: int) -> Epilogue:
    if value.is_float or value.negate:
        raise CannotFuse(
            "its result is not rounded to codes", "quantise the result with QuantizeLinear"
        )
    value = compiler.without_sign(value)
    last = Result(len(compiler.code.nodes) - 1)
    if value.ref != last:
        value = Value(compiler.code.add(Node(Op.MOVE, a=value.ref)), False)
    assert isinstance(value.ref, Result)
    micro = assemble(compiler.code, value.ref, compiler.table)
    words = tuple(compiler.words)
    if words and operands.second is not None:
        raise CannotFuse(
            "divides by a constant map beside a second activation",
            "quantise before the division",
        )
    return Epilogue(
        micro,
        tuple(compiler.params),
        bias,
        0 if operands.source is None else compiler.zero_of("s0"),
        compiler.zero_of("s1"),
        words,
        operands.second,
        pad,
    )


def _with_bias(operands: Operands, expr: Expr) -> tuple[Expr, Array | None]:
    """``acc + bias[n]`` becomes the accumulator with the bias added as it is read."""
    reduced = operands.reduced
    found: set[Access | None] = set()

    def visit(e: Expr) -> None:
        if isinstance(e, Call):
            if e.op == "add" and reduced in e.args:
                other = e.args[1] if e.args[0] == reduced else e.args[0]
                if isinstance(other, Access) and _is_int_param(operands, other):
                    found.add(other)
                    return
            for arg in e.args:
                visit(arg)
        elif e == reduced:
            found.add(None)

    visit(expr)
    if len(found) != 1 or None in found:
        return expr, None
    bias = found.pop()
    assert bias is not None and reduced is not None

    def change(e: Expr) -> Expr:
        if not isinstance(e, Call):
            return e
        if e.op == "add" and set(e.args) == {reduced, bias}:
            return reduced
        return replace(e, args=tuple(change(a) for a in e.args))

    return change(expr), operands.leaf(bias).data


def _is_int_param(operands: Operands, access: Access) -> bool:
    if access.tensor not in operands.cascade.constants:
        return False
    leaf = operands.leaf(access)
    return leaf.kind == "param" and not leaf.dtype.is_float
