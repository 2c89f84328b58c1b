"""Physical layouts: which dimension of each stored tensor is contiguous.

Contractions and windows want certain dimensions innermost: the reduction channels of the array's
moving operand, the output channels of its result, the channels of a pooled tensor. Tensors that
elementwise Einsums join agree on one layout, chosen by the bytes that ask for it. Where a
contraction still cannot use a tensor as it lies, a copy in another layout is inserted.

The layouts stand in the Cascade's section ``rank-order``, as TeAAL calls it: the ranks of a tensor,
outermost in memory first; a tensor that is not named there lies as it is declared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Cascade, Einsum, Tensor
from dataflow.ir.expr import Access, accesses, map_accesses
from dataflow.ir.macs import contraction_operands
from dataflow.ir.sections import Section
from dataflow.layers.layer import Storage
from dataflow.rewrite.words import feeds_word

Layout = tuple[int, ...]

RANK_ORDER = "rank-order"
"""The section that states the layouts."""


@dataclass(frozen=True)
class Wish:
    """An access that works only (or fast) when some dimensions are innermost.

    Attributes:
        einsum: index in the Cascade.
        tensor: whose layout is meant.
        dims: the dimensions that must be innermost together, in their natural order.
        hard: whether the Einsum cannot be lowered otherwise.
        either: dimensions of which any one may be innermost as well.
    """

    einsum: int
    tensor: str
    dims: tuple[int, ...]
    hard: bool
    writes: bool
    either: tuple[int, ...] = ()


def natural(tensor: Tensor) -> Layout:
    """Row-major."""
    return tuple(range(len(tensor.shape)))


def innermost(rank: int, dims: Iterable[int]) -> Layout:
    """Row-major with ``dims`` moved to the end."""
    last = tuple(dims)
    return tuple(d for d in range(rank) if d not in last) + last


def satisfies(layout: Layout, dims: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether ``dims`` are the innermost ones, dimensions of size 1 apart."""
    wanted = {d for d in dims if shape[d] > 1}
    order = [d for d in layout if shape[d] > 1]
    return set(order[len(order) - len(wanted) :]) == wanted


def wishes(cascade: Cascade) -> list[Wish]:
    """What each contraction and each windowed reduction asks for."""
    result: list[Wish] = []
    for at, einsum in enumerate(cascade.einsums):
        if einsum.reduction is None or feeds_word(cascade, einsum):
            continue
        if contraction_operands(einsum) is None or of_one_element(cascade, einsum):
            result += _window_wishes(cascade, at, einsum)
            continue
        result += _contraction_wishes(cascade, at, einsum)
    return result


def of_one_element(cascade: Cascade, einsum: Einsum) -> bool:
    """Whether what is summed is a function of one element (x times its hard sigmoid)."""
    tensors = cascade.tensors
    return len({a for a in einsum.inputs if tensors[a.tensor].elements > 1}) == 1


def _contraction_wishes(cascade: Cascade, at: int, einsum: Einsum) -> list[Wish]:
    assert einsum.reduction is not None
    moving, stationary = split_operands(cascade, einsum)
    reduced = set(einsum.reduction.variables)
    found = []
    columns = set(stationary.variables) - set(moving.variables) - reduced
    groups = frozenset(set(moving.variables) & set(stationary.variables) - reduced)
    out_dims = _dims(einsum.output, columns, pure=False)
    found.append(Wish(at, einsum.output.tensor, out_dims, True, True))
    in_dims = _channels_last(cascade, moving, _dims(moving, reduced, pure=True, groups=groups))
    apart = _dims(moving, set(groups), pure=False)
    alone = in_dims and apart and not set(apart) & set(in_dims)
    if (
        alone
        and stationary.tensor in cascade.constants
        and not any(cascade.size(v) > 1 for v in columns)
    ):
        in_dims = apart  # a number for each channel and tap: taps may lie anywhere
    found.append(Wish(at, moving.tensor, in_dims, True, False))
    if stationary.tensor not in cascade.constants:
        # Contiguous output channels or contiguous reduction: either will do.
        rows = _dims(stationary, reduced, pure=False)
        cols = _dims(stationary, columns, pure=False)
        shape = cascade.tensors[stationary.tensor].shape
        last = max((d for d, size in enumerate(shape) if size > 1), default=0)
        either = (last,) if last in rows + cols else cols or rows
        found.append(Wish(at, stationary.tensor, either, False, False, rows + cols))
    return found


def split_operands(cascade: Cascade, einsum: Einsum) -> tuple[Access, Access]:
    """(moving operand, stationary operand) of a contraction.

    The stationary one has the output's column variables; a constant is preferred.
    """
    operands = contraction_operands(einsum)
    assert operands is not None and einsum.reduction is not None
    first, second = (accesses(o)[0] for o in operands)
    if first.tensor in cascade.constants and second.tensor not in cascade.constants:
        first, second = second, first
    own = set(second.variables) - set(first.variables) - set(einsum.reduction.variables)
    sizes = {v: cascade.size(v) for v in einsum.variables}
    constant = second.tensor in cascade.constants
    if not constant and not any(sizes[v] > 1 for v in own):
        other = set(first.variables) - set(second.variables) - set(einsum.reduction.variables)
        if any(sizes[v] > 1 for v in other):
            first, second = second, first
    last = [v for i in einsum.output.indices for v in i.variables if sizes[v] > 1]
    if last and not constant and last[-1] not in second.variables:
        first, second = second, first
    return first, second


def _dims(
    access: Access, variables: set[str], *, pure: bool, groups: frozenset[str] = frozenset()
) -> tuple[int, ...]:
    """Dimensions indexed by ``variables`` (pure: by nothing outside them but ``groups``)."""
    found = []
    for dim, index in enumerate(access.indices):
        own = set(index.variables)
        if not own & variables:
            continue
        if pure and own - variables - groups:
            continue
        found.append(dim)
    return tuple(found)


def _channels_last(cascade: Cascade, access: Access, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Dimensions of which only a part is read in front of those read whole.

    What is read of them all is one run then: a few planes, each with all its channels.
    """
    shape = cascade.tensors[access.tensor].shape

    def read_whole(dim: int) -> bool:
        index = access.indices[dim]
        low, high = index.bounds({v: cascade.size(v) for v in index.variables})
        return low == 0 and high == shape[dim] - 1

    return tuple(sorted(dims, key=read_whole))


def _window_wishes(cascade: Cascade, at: int, einsum: Einsum) -> list[Wish]:
    assert einsum.reduction is not None
    reduced = set(einsum.reduction.variables)
    sizes = cascade.sizes(einsum)
    found = []
    for access in einsum.inputs:
        if access.tensor in cascade.constants:
            continue
        kept = tuple(
            d
            for d, index in enumerate(access.indices)
            if index.variables and not set(index.variables) & reduced
        )
        lanes = {
            d: lane
            for d, index in enumerate(access.indices)
            if (lane := lane_of(index, sizes, reduced)) is not None
        }
        # The last of the unwindowed dimensions in front of the windows holds the channels.
        channel = tuple(lanes) or kept[-1:]
        found.append(Wish(at, access.tensor, channel, False, False))
        names = set(lanes.values()) or {v for d in channel for v in access.indices[d].variables}
        out = _dims(einsum.output, names, pure=False)
        found.append(Wish(at, einsum.output.tensor, out, False, True))
    return found


def lane_of(index: Affine, sizes: Mapping[str, int], reduced: Collection[str]) -> str | None:
    """The variable that walks neighbours of one dimension, where taps lie several of them apart.

    Each such tap is a run of channels; runs may overlap.
    """
    terms = [(v, c) for v, c in index.terms if sizes[v] > 1]
    taps = [c for v, c in terms if v in reduced]
    outs = [(v, c) for v, c in terms if v not in reduced]
    if len(taps) != 1 or len(outs) != 1 or taps[0] < 2 or outs[0][1] != 1:
        return None
    return outs[0][0] if index.offset == 0 else None


class _Classes:
    """Union-find over tensor names."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        self.parent.setdefault(name, name)
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def join(self, a: str, b: str) -> None:
        a, b = sorted((self.find(a), self.find(b)))
        self.parent[b] = a


def choose(cascade: Cascade) -> dict[str, Layout]:
    """The layout of every tensor."""
    classes = _Classes()
    for einsum in cascade.einsums:
        rank = len(cascade.tensors[einsum.output.tensor].shape)
        if einsum.reduction is not None:
            # The accumulator and what is computed from it share dimensions.
            continue
        for access in einsum.inputs:
            aligned = len(access.indices) == rank and all(
                set(i.variables) == set(o.variables)
                for i, o in zip(access.indices, einsum.output.indices, strict=True)
            )
            if aligned and access.tensor not in cascade.constants:
                classes.join(access.tensor, einsum.output.tensor)
    asked: dict[str, list[Wish]] = {}
    for wish in wishes(cascade):
        if wish.tensor not in cascade.constants and wish.dims:
            asked.setdefault(classes.find(wish.tensor), []).append(wish)
    found = {
        name: _best(cascade, tensor, asked.get(classes.find(name), []))
        for name, tensor in cascade.tensors.items()
    }
    alone = Counter(classes.find(name) for name in cascade.tensors)
    for name in cascade.tensors:
        wanted = asked.get(classes.find(name), [])
        if wanted and alone[classes.find(name)] == 1:
            found[name] = _as_written(cascade, name, found, wanted)
    return found


def _as_written(
    cascade: Cascade, name: str, layouts: Mapping[str, Layout], wanted: list[Wish]
) -> Layout:
    """The layout in which copies write a tensor with all lanes, if its readers take it too.

    Such a copy has innermost what is innermost in its source.
    """
    tensor, dims = cascade.tensors[name], set[int]()
    for einsum in cascade.writers.get(name, ()):
        sources = [a for a in einsum.inputs if cascade.tensors[a.tensor].elements > 1]
        sources = [a for a in sources if a.tensor not in cascade.constants]
        if einsum.reduction is not None or len(sources) != 1:
            return layouts[name]
        shape = cascade.tensors[sources[0].tensor].shape
        order = [d for d in layouts[sources[0].tensor] if shape[d] > 1]
        inner = {v for v, step in sources[0].indices[order[-1]].terms if step == 1}
        places = [d for d, i in enumerate(einsum.output.indices) if i.variable in inner]
        if len(places) != 1:
            return layouts[name]
        dims.add(places[0])
    layout = innermost(len(tensor.shape), dims)
    if len(dims) != 1 or not all(
        satisfies(layout, w.dims, tensor.shape) or dims <= set(w.either) for w in wanted
    ):
        return layouts[name]
    return layout


def _best(cascade: Cascade, tensor: Tensor, asked: list[Wish]) -> Layout:
    """The layout that satisfies most of the wishes of a class, by bytes."""
    rank = len(tensor.shape)
    mine = [w for w in asked if len(cascade.tensors[w.tensor].shape) == rank]
    options = dict.fromkeys([natural(tensor), *(innermost(rank, w.dims) for w in mine)])

    def score(layout: Layout) -> int:
        total = 0
        for wish in mine:
            other = cascade.tensors[wish.tensor]
            if satisfies(layout, wish.dims, other.shape):
                total += other.elements * (4 if wish.hard else 1)
        return total

    return min(options, key=lambda layout: (-score(layout), layout))


def with_rank_orders(cascade: Cascade) -> Cascade:
    """The Cascade with the layout of every tensor chosen."""
    return _stated(cascade, choose(cascade))


def rank_orders(cascade: Cascade) -> dict[str, Layout]:
    """The layout of every tensor: as its ``rank-order`` says, else row-major."""
    section = cascade.sections.get(RANK_ORDER, {})
    assert isinstance(section, dict)
    result = {}
    for name, tensor in cascade.tensors.items():
        named = section.get(name)
        keys = _keys(tensor)
        result[name] = (
            tuple(keys.index(str(k)) for k in named) if isinstance(named, list) else natural(tensor)
        )
    return result


def _stated(cascade: Cascade, layouts: Mapping[str, Layout]) -> Cascade:
    """The Cascade with these layouts in its section."""
    orders: dict[str, Section] = {
        name: [_keys(tensor)[d] for d in layouts[name]]
        for name, tensor in cascade.tensors.items()
        if layouts[name] != natural(tensor)
    }
    sections = {k: v for k, v in cascade.sections.items() if k != RANK_ORDER}
    if orders:
        sections[RANK_ORDER] = orders
    if sections == dict(cascade.sections):
        return cascade
    return replace(cascade, sections=sections)


def _keys(tensor: Tensor) -> list[str]:
    """Names of the dimensions: the ranks, or their places where two ranks are the same."""
    if len(set(tensor.ranks)) == len(tensor.ranks):
        return list(tensor.ranks)
    return [str(d) for d in range(len(tensor.ranks))]


def with_copies(cascade: Cascade) -> Cascade:
    """Copies of the 8-bit tensors that a contraction cannot read as they lie."""
    tensors = dict(cascade.tensors)
    layouts = rank_orders(cascade)
    before: dict[int, list[Einsum]] = {}
    renamed: dict[int, dict[str, str]] = {}
    made: dict[tuple[str, Layout], str] = {}
    for wish in wishes(cascade):
        tensor = tensors[wish.tensor]
        known = wish.tensor in cascade.constants or wish.writes or not wish.hard
        if known or satisfies(layouts[wish.tensor], wish.dims, tensor.shape):
            continue
        layout = innermost(len(tensor.shape), wish.dims)
        key = (wish.tensor, layout)
        if key not in made:
            name = _fresh(f"{wish.tensor}_layout", tensors)
            made[key] = name
            tensors[name] = replace(tensor, name=name, role="intermediate", label=name)
            layouts[name] = layout
            index = tuple(Affine.of(r.lower()) for r in tensor.ranks)
            copy = Einsum(f"{name}_copy", Access(name, index), Access(wish.tensor, index))
            before.setdefault(wish.einsum, []).append(copy)
        renamed.setdefault(wish.einsum, {})[wish.tensor] = made[key]
    if not made:
        return cascade
    einsums: list[Einsum] = []
    for at, einsum in enumerate(cascade.einsums):
        einsums += before.get(at, [])
        einsums.append(_reading(einsum, renamed.get(at, {})))
    return _stated(replace(cascade, tensors=tensors, einsums=tuple(einsums)), layouts)


def _reading(einsum: Einsum, names: Mapping[str, str]) -> Einsum:
    """The Einsum with the copies read in place of the tensors."""
    if not names:
        return einsum

    def change(access: Access) -> Access:
        return Access(names.get(access.tensor, access.tensor), access.indices)

    return replace(einsum, expr=map_accesses(einsum.expr, change))


def _fresh(name: str, tensors: Mapping[str, Tensor]) -> str:
    number = 1
    candidate = name
    while candidate in tensors:
        number += 1
        candidate = f"{name}{number}"
    return candidate


def storages(cascade: Cascade) -> dict[str, Storage]:
    """Storage of every 8-bit tensor that is not a weight."""
    result = {}
    layouts = rank_orders(cascade)
    outputs, inputs = set(cascade.outputs), set(cascade.inputs)
    for name, tensor in cascade.tensors.items():
        if name in cascade.constants or tensor.role == "host":
            continue
        if not (tensor.dtype.is_int and tensor.dtype.bits == 8):
            continue
        role = "output" if name in outputs else "input" if name in inputs else "intermediate"
        result[name] = Storage(
            name,
            tensor.shape,
            layouts[name],
            tensor.elements,
            role,  # type: ignore[arg-type]
            tensor.dtype.signed,
        )
    return result
