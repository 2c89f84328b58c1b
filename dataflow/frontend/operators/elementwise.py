"""Elementwise arithmetic, comparison, logic and selection with NumPy broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import literal
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.fields import (
    cast,
    number_type,
    operands,
    pointwise,
    require_float,
    require_integer,
    require_number,
    require_truth,
    same_types,
)
from dataflow.ir.dtype import BOOL, F64, DType
from dataflow.ir.expr import Const, Expr, call
from dataflow.ir.ops import promote

UNARY: dict[str, str] = {
    "Abs": "abs",
    "Neg": "neg",
    "Sign": "sign",
    "Not": "not",
    "BitwiseNot": "not",
}
"""Of any element type that the operator allows."""

FLOAT: dict[str, str] = {
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sqrt": "sqrt",
    "Exp": "exp",
    "Log": "log",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Tanh": "tanh",
    "Asinh": "asinh",
    "Acosh": "acosh",
    "Atanh": "atanh",
    "IsNaN": "isnan",
}

BINARY: dict[str, str] = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "And": "and",
    "Or": "or",
    "Xor": "xor",
    "BitwiseAnd": "and",
    "BitwiseOr": "or",
    "BitwiseXor": "xor",
}

COMPARISONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "Equal": lambda a, b: call("equal", a, b),
    "Less": lambda a, b: call("less", a, b),
    "LessOrEqual": lambda a, b: call("less_equal", a, b),
    "Greater": lambda a, b: call("less", b, a),
    "GreaterOrEqual": lambda a, b: call("less_equal", b, a),
}

VARIADIC: dict[str, str] = {"Sum": "add", "Mean": "add", "Max": "max", "Min": "min"}


def unary(ctx: Context, node: Node) -> None:
    """A function of one number."""
    op = UNARY.get(node.op) or FLOAT[node.op]
    values = operands(ctx, node)
    dtype = number_type(values[0])
    if node.op in FLOAT:
        require_float(node, dtype)
    elif node.op == "Not":
        require_truth(dtype)
    elif node.op == "BitwiseNot":
        require_integer(dtype)
    else:
        require_number(dtype)
    result = BOOL if node.op == "IsNaN" else dtype
    pointwise(ctx, node, lambda x: call(op, x), result, values)


def binary(ctx: Context, node: Node) -> None:
    """An operator on two numbers of one type."""
    values = operands(ctx, node)
    dtype = same_types(node, values)
    if node.op in ("And", "Or", "Xor"):
        require_truth(dtype)
    elif node.op.startswith("Bitwise"):
        require_integer(dtype)
    else:
        require_number(dtype)
    pointwise(ctx, node, lambda a, b: call(BINARY[node.op], a, b), values=values)


def divide(ctx: Context, node: Node) -> None:
    """Div: integers are divided towards zero."""
    values = operands(ctx, node)
    dtype = same_types(node, values)
    require_number(dtype)
    op = "div" if dtype.is_float else "idiv"
    pointwise(ctx, node, lambda a, b: call(op, a, b), values=values)


def comparison(ctx: Context, node: Node) -> None:
    """A comparison, to bool."""
    values = operands(ctx, node)
    same_types(node, values)
    pointwise(ctx, node, COMPARISONS[node.op], BOOL, values)


def variadic(ctx: Context, node: Node) -> None:
    """Sum, Mean, Max or Min of any number of inputs; NaN wins a maximum."""
    values = operands(ctx, node)
    dtype = same_types(node, values)
    require_number(dtype)
    if node.op == "Mean":
        require_float(node, dtype)

    def build(*terms: Expr) -> Expr:
        total = reduce(lambda a, b: call(VARIADIC[node.op], a, b), terms)
        if node.op == "Mean" and len(terms) > 1:
            return call("div", total, literal(len(terms), dtype))
        return total

    pointwise(ctx, node, build, values=values)


def power(ctx: Context, node: Node) -> None:
    """Pow: of the base's type; a float exponent of an integer base counts in float64.

    A float's square is a product, and so is its cube (of two roundings), as in onnxruntime: a
    written-out normalisation has squares.
    """
    values = operands(ctx, node)
    base, exponent = (number_type(v) for v in values)
    require_number(base)
    require_number(exponent)
    inside = base
    if exponent.is_float and not base.is_float:
        inside = F64
    elif not base.is_float:
        inside = max(promote(base), promote(exponent), key=lambda t: t.bits)

    def build(x: Expr, y: Expr) -> Expr:
        if base.is_float and isinstance(y, Const) and y.value in (2, 3):
            square = call("mul", x, x)
            return square if y.value == 2 else call("mul", square, x)
        return call("pow", _as(x, base, inside), _as(y, exponent, inside))

    pointwise(ctx, node, build, base, values)


def _as(expr: Expr, own: DType, wanted: DType) -> Expr:
    return expr if promote(own) == wanted else cast(expr, own, wanted)


def remainder(ctx: Context, node: Node) -> None:
    """Mod: with the sign of the divisor, with ``fmod`` that of the dividend."""
    values = operands(ctx, node)
    require_number(same_types(node, values))
    signed = int(node.get("fmod", 0)) == 1
    op = "fmod" if signed else "mod"
    pointwise(ctx, node, lambda a, b: call(op, a, b), values=values)


def reciprocal(ctx: Context, node: Node) -> None:
    """1 / x."""
    values = operands(ctx, node)
    dtype = number_type(values[0])
    require_float(node, dtype)
    pointwise(ctx, node, lambda x: call("div", literal(1, dtype), x), values=values)


def error_function(ctx: Context, node: Node) -> None:
    """Erf; integers are computed in float64 and truncated."""
    values = operands(ctx, node)
    dtype = number_type(values[0])
    inside = dtype if dtype.is_float else F64
    pointwise(ctx, node, lambda x: call("erf", cast(x, dtype, inside)), values=values)


def shift(ctx: Context, node: Node) -> None:
    """BitShift of unsigned integers; bits that leave the type are lost."""
    directions = {"LEFT": "shift_left", "RIGHT": "shift_right"}
    direction = str(node.get("direction", ""))
    if direction not in directions:
        raise UnsupportedError(f"its direction is {direction!r}", "use LEFT or RIGHT")
    values = operands(ctx, node)
    require_integer(same_types(node, values))
    pointwise(ctx, node, lambda a, b: call(directions[direction], a, b), values=values)


def where(ctx: Context, node: Node) -> None:
    """Where: the second input where the first is true, else the third."""
    values = operands(ctx, node)
    dtype = same_types(node, values[1:])
    pointwise(ctx, node, lambda c, a, b: call("where", c, a, b), dtype, values)


def is_infinite(ctx: Context, node: Node) -> None:
    """IsInf, of both signs or of one."""
    values = operands(ctx, node)
    dtype = number_type(values[0])
    require_float(node, dtype)
    positive = bool(node.get("detect_positive", 1))
    negative = bool(node.get("detect_negative", 1))

    def build(x: Expr) -> Expr:
        infinite, zero = call("isinf", x), literal(0, dtype)
        if positive and negative:
            return infinite
        if not positive and not negative:
            return call("less", x, x)  # never
        side = call("less", zero, x) if positive else call("less", x, zero)
        return call("and", infinite, side)

    pointwise(ctx, node, build, BOOL, values)


def clip(ctx: Context, node: Node) -> None:
    """Clip between bounds that are attributes (opset < 11) or inputs; absent ones do not bind.

    The upper bound is applied last, so that it wins where the lower one is above it.
    """
    attributes = [k for k in ("min", "max") if k in node.attributes]
    positions = [p for p in (1, 2) if node.input(p)]
    values = operands(ctx, node, [0, *positions])
    dtype = same_types(node, values)
    fixed = [literal(float(node.attributes[k]), dtype) for k in attributes]
    names = attributes + ["min" if p == 1 else "max" for p in positions]

    def build(x: Expr, *limits: Expr) -> Expr:
        for name, limit in zip(names, (*fixed, *limits), strict=True):
            x = call("max" if name == "min" else "min", x, limit)
        return x

    pointwise(ctx, node, build, values=values)


def binarize(ctx: Context, node: Node) -> None:
    """ai.onnx.ml Binarizer: 1 where the input is above the threshold, else 0."""
    values = operands(ctx, node)
    dtype = number_type(values[0])
    limit = literal(node.get("threshold", 0.0), dtype)
    one, zero = literal(1, dtype), literal(0, dtype)
    pointwise(ctx, node, lambda x: call("where", call("less", limit, x), one, zero), values=values)


LOWERINGS = {
    **{("", op): unary for op in (*UNARY, *FLOAT)},
    **{("", op): binary for op in BINARY},
    **{("", op): comparison for op in COMPARISONS},
    **{("", op): variadic for op in VARIADIC},
    ("", "Div"): divide,
    ("", "Pow"): power,
    ("", "Mod"): remainder,
    ("", "Reciprocal"): reciprocal,
    ("", "Erf"): error_function,
    ("", "BitShift"): shift,
    ("", "Where"): where,
    ("", "IsInf"): is_infinite,
    ("", "Clip"): clip,
    ("ai.onnx.ml", "Binarizer"): binarize,
}
