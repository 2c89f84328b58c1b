"""Small float transformer blocks as torch exports them, to be quantised: seeded weights."""

from __future__ import annotations

import numpy as np
import onnx

from tests.frontend.qdq_net import QdqNet

Array = np.ndarray


def _linear(net: QdqNet, x: str, rows: int, columns: int) -> str:
    weight = net.rng.standard_normal((rows, columns)) / np.sqrt(rows)
    return net.op("MatMul", x, net.constant(weight.astype(np.float32)))


def _ints(net: QdqNet, *values: int) -> str:
    return net.constant(np.array(values, np.int64))


def _number(net: QdqNet, value: float) -> str:
    return net.constant(np.array(value, np.float32))


def rms(net: QdqNet, x: str, width: int) -> str:
    """RMSNorm, written out."""
    square = net.op("Pow", x, _number(net, 2.0))
    mean = net.op("ReduceMean", square, _ints(net, 2), keepdims=1)
    root = net.op("Sqrt", net.op("Add", mean, _number(net, 1e-5)))
    normal = net.op("Mul", x, net.op("Reciprocal", root))
    return net.op("Mul", normal, net.floats(width, low=0.8, high=1.2))


def _heads(net: QdqNet, x: str, tokens: int, heads: int, size: int) -> str:
    apart = net.op("Reshape", x, _ints(net, 1, tokens, heads, size))
    return net.op("Transpose", apart, perm=[0, 2, 1, 3])


def _rotated(net: QdqNet, x: str, tokens: int, size: int) -> str:
    """Rotary positions: x cos + rotate(x) sin."""
    frequency = 100.0 ** (-np.arange(0, size, 2) / size)
    angle = np.concatenate([np.outer(np.arange(tokens), frequency)] * 2, axis=-1)
    cosine, sine = (net.constant(f(angle).astype(np.float32)) for f in (np.cos, np.sin))
    a, b = net.ops("Split", x, outputs=2, axis=3, num_outputs=2)
    turned = net.op("Concat", net.op("Neg", b), a, axis=-1)
    return net.op("Add", net.op("Mul", x, cosine), net.op("Mul", turned, sine))


def _shared(net: QdqNet, x: str, shape: tuple[int, int, int], times: int) -> str:
    """Each of the heads so many times."""
    groups, tokens, size = shape
    more = net.op("Unsqueeze", x, _ints(net, 2))
    more = net.op("Expand", more, _ints(net, 1, groups, times, tokens, size))
    return net.op("Reshape", more, _ints(net, 1, groups * times, tokens, size))


def _scores(net: QdqNet, x: str, sizes: tuple[int, int, int]) -> tuple[str, str]:
    """Scores of (heads, tokens, size), and the values."""
    heads, tokens, size = sizes
    q, k, v = (
        _heads(net, _linear(net, x, heads * size, heads * size), tokens, heads, size)
        for _ in range(3)
    )
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
    return scores, v


def _weighted(net: QdqNet, shares: str, v: str, sizes: tuple[int, int, int]) -> onnx.ModelProto:
    """The model that ends with the sums of the values and a product."""
    heads, tokens, size = sizes
    y = net.op("Transpose", net.op("MatMul", shares, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, _ints(net, 1, tokens, heads * size))
    return net.finish(_linear(net, y, heads * size, heads * size))


def llama(seed: int = 0) -> onnx.ModelProto:
    """Llama's block: RMSNorm, rotary positions, grouped queries, causal softmax, SwiGLU.

    Width 16, two query heads and one of keys, six tokens.
    """
    width, heads, groups, tokens = 16, 2, 1, 6
    size = width // heads
    net = QdqNet(seed, opset=20)
    x = net.input((1, tokens, width))
    y = rms(net, x, width)
    counts = (heads, groups, groups)
    q, k, v = (_heads(net, _linear(net, y, width, n * size), tokens, n, size) for n in counts)
    q, k = (_rotated(net, part, tokens, size) for part in (q, k))
    k, v = (_shared(net, part, (groups, tokens, size), heads // groups) for part in (k, v))
    root = _number(net, size**-0.25)
    k = net.op("Mul", net.op("Transpose", k, perm=[0, 1, 3, 2]), root)
    scores = net.op("MatMul", net.op("Mul", q, root), k)
    future = np.triu(np.full((tokens, tokens), -np.inf, np.float32), 1)
    shares = net.op("Softmax", net.op("Add", scores, net.constant(future)), axis=-1)
    y = net.op("Transpose", net.op("MatMul", shares, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, _ints(net, 1, tokens, width))
    x = net.op("Add", x, _linear(net, y, width, width))
    y = rms(net, x, width)
    gate = _linear(net, y, width, 2 * width)
    gate = net.op("Mul", gate, net.op("Sigmoid", gate))
    y = net.op("Mul", gate, _linear(net, y, width, 2 * width))
    return net.finish(net.op("Add", x, _linear(net, y, 2 * width, width)))


def biased(seed: int = 0) -> onnx.ModelProto:
    """Causal attention of T5: position biases and a mask of -10,000 in one constant."""
    heads, tokens, size = 2, 6, 8
    net = QdqNet(seed, opset=20)
    x = net.input((1, tokens, heads * size))
    scores, v = _scores(net, x, (heads, tokens, size))
    bias = net.rng.standard_normal((heads, tokens, tokens)).astype(np.float32)
    bias += np.triu(np.full((tokens, tokens), -1e4, np.float32), 1)
    shares = net.op("Softmax", net.op("Add", scores, net.constant(bias)), axis=-1)
    return _weighted(net, shares, v, (heads, tokens, size))


def padded(seed: int = 0) -> onnx.ModelProto:
    """Attention of BERT: which tokens count is an input, of which a mask of -10,000 is made."""
    heads, tokens, size = 2, 6, 8
    net = QdqNet(seed, opset=20)
    x = net.input((1, tokens, heads * size))
    given = net.op("Cast", net.input((1, 1, 1, tokens), np.int64), to=onnx.TensorProto.FLOAT)
    mask = net.op("Mul", net.op("Sub", _number(net, 1.0), given), _number(net, -1e4))
    scores, v = _scores(net, x, (heads, tokens, size))
    shares = net.op("Softmax", net.op("Add", scores, mask), axis=-1)
    return _weighted(net, shares, v, (heads, tokens, size))


def attend(seed: int = 0) -> onnx.ModelProto:
    """A whole Attention node, causal, of two heads of queries and one of keys, heads packed."""
    heads, tokens, size = 2, 6, 8
    net = QdqNet(seed, opset=23)
    x = net.input((1, tokens, heads * size))
    parts = (_linear(net, x, heads * size, n * size) for n in (heads, 1, 1))
    y = net.op("Attention", *parts, q_num_heads=heads, kv_num_heads=1, is_causal=1)
    return net.finish(_linear(net, y, heads * size, heads * size))


def samples(proto: onnx.ModelProto, n: int, seed: int = 0) -> dict[str, Array]:
    """``n`` samples of each input: normal numbers; zeros and ones, never all zero, of integers."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, Array] = {}
    for port in proto.graph.input:
        shape = [d.dim_value for d in port.type.tensor_type.shape.dim]
        shape[0] *= n
        if port.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            drawn[port.name] = rng.standard_normal(shape).astype(np.float32)
        else:
            data = rng.integers(0, 2, shape, np.int64)
            data[..., 0] = 1
            drawn[port.name] = data
    return drawn


BLOCKS = (llama, biased, padded, attend)
