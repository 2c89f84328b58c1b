"""Fused operators of com.microsoft as functions of standard ones, for onnxruntime's own exports."""

from __future__ import annotations

from collections.abc import Callable

from onnx import FunctionProto, parser

from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.refusal import UnsupportedError

DOMAIN = "com.microsoft"

HEAD = '<opset_import: ["" : 23], domain: "com.microsoft">\n'


def fused(node: Node) -> FunctionProto | None:
    """The function that a node calls, written for the inputs that it has; None when not known."""
    if node.domain != DOMAIN or node.op not in BODIES:
        return None
    return parser.parse_function(HEAD + BODIES[node.op](node))


def known(node: Node) -> bool:
    """Whether ``fused`` finds a function."""
    return node.domain == DOMAIN and node.op in BODIES


def _has(node: Node, position: int) -> bool:
    return bool(node.input(position))


def _bias_gelu(node: Node) -> str:
    return "BiasGelu (A, B) => (C) { S = Add(A, B) C = Gelu(S) }"


def _fast_gelu(node: Node) -> str:
    if not _has(node, 1):
        return 'FastGelu (X, B) => (Y) { Y = Gelu<approximate = "tanh">(X) }'
    return 'FastGelu (X, B) => (Y) { S = Add(X, B) Y = Gelu<approximate = "tanh">(S) }'


def _skip_norm(node: Node) -> str:
    add = "T = Add(X, S) total = Add(T, bias)" if _has(node, 4) else "total = Add(X, S)"
    return (
        "SkipLayerNormalization <epsilon: float = 1e-12> (X, S, gamma, beta, bias) "
        "=> (Y, mean, inverse, total) {"
        f"{add} Y, mean, inverse = LayerNormalization<axis = -1, epsilon: float = @epsilon>"
        "(total, gamma, beta) }"
    )


ROOT = (
    "E = Constant<value_float: float = @epsilon>() W = CastLike(E, {x}) Q = Mul({x}, {x}) "
    "A = Constant<value_ints = [-1]>() M = ReduceMean(Q, A) V = Add(M, W) D = Sqrt(V) "
    "R = Reciprocal(D) inverse = Cast<to = 1>(R) "
)
"""1 / sqrt(mean(x^2) + epsilon); statistics are float32 whatever the type of the data."""


def _skip_rms_norm(node: Node) -> str:
    add = "T = Add(X, S) total = Add(T, bias)" if _has(node, 3) else "total = Add(X, S)"
    return (
        "SkipSimplifiedLayerNormalization <epsilon: float = 1e-12> (X, S, gamma, bias) "
        f"=> (Y, mean, inverse, total) {{ {add} {ROOT.format(x='total')} mean = Cast<to = 1>(M) "
        "Y = RMSNormalization<axis = -1, epsilon: float = @epsilon>(total, gamma) }"
    )


def _rms_norm(node: Node) -> str:
    if int(node.get("axis", -1)) != -1 and node.outputs[1:2] not in ((), ("",)):
        raise UnsupportedError("its second output is over several axes", "use the first output")
    return (
        "SimplifiedLayerNormalization <axis: int = -1, epsilon: float = 1e-5> (X, gamma) "
        f"=> (Y, inverse) {{ {ROOT.format(x='X')} "
        "Y = RMSNormalization<axis: int = @axis, epsilon: float = @epsilon>(X, gamma) }"
    )


def _embedding(node: Node) -> str:
    positions = "position_ids"
    head = ""
    if not _has(node, 8):
        positions = "P"
        head = (
            "N = Shape<start = 1, end = 2>(ids) L = Squeeze(N) Z = Constant<value_int = 0>() "
            "I = Constant<value_int = 1>() P = Range(Z, L, I) "
        )
    segment = "total = Identity(WP) "
    if _has(node, 1) and _has(node, 4):
        segment = "G = Gather(segments, segment_ids) total = Add(WP, G) "
    mask = "F = ConstantOfShape<value = int32[1] {0}>(B) mask_index = Identity(F) "
    if _has(node, 7):
        mask = (
            "A = Constant<value_ints = [1]>() C = Cast<to = 6>(mask) "
            "mask_index = ReduceSum<keepdims = 0>(C, A) "
        )
    return (
        "EmbedLayerNormalization <epsilon: float = 1e-12> (ids, segment_ids, word, position, "
        "segments, gamma, beta, mask, position_ids) => (Y, mask_index, sum) {"
        f"{head} W = Gather(word, ids) PE = Gather(position, {positions}) WP = Add(W, PE) {segment}"
        f"B = Shape<start = 0, end = 1>(ids) {mask} sum = Identity(total) "
        "Y = LayerNormalization<axis = -1, epsilon: float = @epsilon>(total, gamma, beta) }"
    )


def _bias_add(node: Node) -> str:
    return "BiasAdd (X, B, S) => (Y) { T = Add(X, B) Y = Add(T, S) }"


CONV = (
    "Conv<auto_pad: string = @auto_pad, dilations: ints = @dilations, group: int = @group, "
    "kernel_shape: ints = @kernel_shape, pads: ints = @pads, strides: ints = @strides>"
)
CONV_ATTRIBUTES = "auto_pad, dilations, group, kernel_shape, pads, strides"


def _fused_conv(node: Node) -> str:
    add = "S = Add(T, Z)" if _has(node, 3) else "S = Identity(T)"
    parameters = [float(v) for v in node.get("activation_params", ())]
    last = _activation(str(node.get("activation", "")), parameters)
    names = f"{CONV_ATTRIBUTES}, activation, activation_params"
    return f"FusedConv <{names}> (X, W, B, Z) => (Y) {{ T = {CONV}(X, W, B) {add} {last} }}"


def _fused_gemm(node: Node) -> str:
    given = [node.get(f"activation_{k}", None) for k in ("alpha", "beta")]
    last = _activation(str(node.get("activation", "")), [float(v) for v in given if v is not None])
    return (
        "FusedGemm <alpha, beta, transA, transB, activation, activation_alpha, activation_beta, "
        "activation_gamma> (A, B, C) => (Y) { S = Gemm<alpha: float = @alpha, beta: float = @beta, "
        f"transA: int = @transA, transB: int = @transB>(A, B, C) {last} }}"
    )


def _activation(name: str, parameters: list[float]) -> str:
    """``Y`` from ``S``."""
    if not name:
        return "Y = Identity(S)"
    if name in ("Relu", "Tanh", "Sigmoid", "Softplus", "Softsign"):
        return f"Y = {name}(S)"
    if name in ("LeakyRelu", "Elu", "ThresholdedRelu") and len(parameters) <= 1:
        alpha = f"<alpha = {parameters[0]!r}>" if parameters else ""
        return f"Y = {name}{alpha}(S)"
    if name == "HardSigmoid" and len(parameters) in (0, 2):
        pair = "<alpha = {!r}, beta = {!r}>".format(*parameters) if parameters else ""
        return f"Y = HardSigmoid{pair}(S)"
    if name == "Clip" and len(parameters) == 2:
        low, high = (f"Constant<value_float = {v!r}>()" for v in parameters)
        return f"P = {low} Q = {high} U = CastLike(P, S) V = CastLike(Q, S) Y = Clip(S, U, V)"
    raise UnsupportedError(f"its activation is {name!r} of {parameters}", "export without fusion")


def _nhwc_conv(node: Node) -> str:
    return (
        f"NhwcConv <{CONV_ATTRIBUTES}> (X, W, B) => (Y) {{ T = Transpose<perm = [0, 3, 1, 2]>(X) "
        f"S = {CONV}(T, W, B) Y = Transpose<perm = [0, 2, 3, 1]>(S) }}"
    )


BODIES: dict[str, Callable[[Node], str]] = {
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_rms_norm,
    "SimplifiedLayerNormalization": _rms_norm,
    "EmbedLayerNormalization": _embedding,
    "BiasAdd": _bias_add,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "NhwcConv": _nhwc_conv,
}
