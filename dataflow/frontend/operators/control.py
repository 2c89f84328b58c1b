"""Loop, Scan and If: loops become iterative ranks, branches are chosen at import or selected.

A loop whose steps differ in shape, or need the number of the step as a constant, is unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from dataflow.frontend.body import captured, inline
from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Graph, Node
from dataflow.frontend.onnx.load_old import OLD_DOMAIN
from dataflow.frontend.operators.steps import Stack, State, advance, counter, start, taken
from dataflow.frontend.value import Value, constant_value
from dataflow.ir.affine import Affine
from dataflow.ir.expr import Access, call

MAX_STEPS = 1 << 24
"""A larger trip count is none at all: a condition has to end the loop."""

MAX_UNROLLED = 1024
"""Most steps of a loop that is unrolled."""


def conditional(ctx: Context, node: Node) -> None:
    """If: the branch that a constant condition chooses, else both and a selection."""
    low = Lowering(ctx, node)
    branches = [_body(node, "then_branch"), _body(node, "else_branch")]
    condition = ctx.value(node, 0)
    if condition.constant is not None:
        chosen = branches[0 if condition.constant.reshape(()).item() else 1]
        for position, value in enumerate(inline(ctx, node, chosen, captured(ctx, chosen))):
            low.view(value, position)
        return
    results = [inline(ctx, node, b, captured(ctx, b)) for b in branches]
    flag = low.operand(0)
    if flag.value.constant is None and any(s != 1 for s in flag.shape):
        raise UnsupportedError(f"its condition has shape {list(flag.shape)}", "use a scalar")
    test = flag.at(*[0] * len(flag.shape))
    for position, (then, other) in enumerate(zip(*results, strict=True)):
        if (then.shape, then.dtype) != (other.shape, other.dtype):
            raise UnsupportedError(
                f"its branches yield {then.dtype}{list(then.shape)} and "
                f"{other.dtype}{list(other.shape)}, and its condition is computed at run time",
                "make the shapes equal or the condition constant",
            )
        a, b = low.of(then, "then"), low.of(other, "else")
        ranks = low.variables(a)
        label = f"{position}" if position else ""
        chosen_value = low.let(
            label, ranks, call("where", test, a.at(*ranks), b.at(*ranks)), dtype=then.dtype
        )
        low.result(chosen_value, position)


@dataclass(frozen=True)
class _Plan:
    """A loop with its operands.

    Attributes:
        steps: how often the body runs at most; None when only a condition ends the loop.
        numbered: names of the body's inputs for the step and the condition, or neither (Scan).
        carried: initial values of the states.
        running: the condition before the first step, when it is computed at run time.
        scanned: per scan input the operand, its axis and whether it is read backward.
        axes, backward: per scan output.
    """

    body: Graph
    steps: int | None
    numbered: tuple[str, ...]
    carried: tuple[Value, ...]
    running: Value | None
    scanned: tuple[tuple[Operand, int, bool], ...]
    axes: tuple[int, ...]
    backward: tuple[bool, ...]

    @property
    def first_state(self) -> int:
        """Position of the first state among the inputs of the body."""
        return len(self.numbered)

    @property
    def first_output(self) -> int:
        """Position of the first state among the outputs: a Loop's condition comes before."""
        return 1 if self.numbered else 0


def loop(ctx: Context, node: Node) -> None:
    """Loop with a constant trip count; a computed condition freezes the states once false."""
    low = Lowering(ctx, node)
    body = _body(node, "body")
    limit = ctx.constant(node, 0, "the trip count")
    initial = ctx.optional(node, 1)
    if len(body.formals) < 2 or len(body.formals) != len(node.inputs):
        raise UnsupportedError("its body has other inputs than it", "repair the model")
    steps = None if limit is None else max(0, int(limit.reshape(())))
    # While loops are written with the largest integer as their trip count.
    steps = None if steps is not None and steps > MAX_STEPS else steps
    if initial is not None and initial.constant is not None:
        steps = steps if initial.constant.reshape(()).item() else 0
        initial = None
    states = len(node.inputs) - 2
    outputs = len(body.outputs) - 1 - states
    if outputs < 0:
        raise UnsupportedError("its body yields too few values", "repair the model")
    plan = _Plan(
        body,
        steps,
        body.formals[:2],
        tuple(ctx.value(node, k + 2) for k in range(states)),
        initial,
        (),
        (0,) * outputs,
        (False,) * outputs,
    )
    _run(ctx, low, plan)


def scan(ctx: Context, node: Node) -> None:
    """Scan: over the slices of its last inputs; opset 8 has a batch dimension around it."""
    low = Lowering(ctx, node)
    body = _body(node, "body")
    old = node.domain == OLD_DOMAIN
    if old and ctx.optional(node, 0) is not None:
        raise UnsupportedError("it has sequence lengths", "export with opset 9 or newer")
    inputs = [low.operand(k) for k in range(1 if old else 0, len(node.inputs))]
    scans = int(node.get("num_scan_inputs", 0))
    states = len(inputs) - scans
    if not 0 < scans <= len(inputs) or len(body.formals) != len(inputs):
        raise UnsupportedError(f"it scans {scans} of {len(inputs)} inputs", "repair the model")
    outputs = len(body.outputs) - states
    if outputs < 0:
        raise UnsupportedError("its body yields too few values", "repair the model")
    if old:
        _batched(ctx, low, body, inputs, states)
        return
    axes = _given(node, "scan_input_axes", scans)
    backward = _given(node, "scan_input_directions", scans)
    scanned = []
    for operand, axis, direction in zip(inputs[states:], axes, backward, strict=True):
        rank = len(operand.shape)
        if not -rank <= axis < rank:
            raise UnsupportedError(f"it scans axis {axis} of {rank}", "repair the model")
        scanned.append((operand, axis % rank, bool(direction)))
    sizes = {operand.shape[axis] for operand, axis, _ in scanned}
    if len(sizes) != 1:
        raise UnsupportedError(f"its inputs have {sorted(sizes)} steps", "repair the model")
    plan = _Plan(
        body,
        sizes.pop(),
        (),
        tuple(o.value for o in inputs[:states]),
        None,
        tuple(scanned),
        tuple(_given(node, "scan_output_axes", outputs)),
        tuple(bool(d) for d in _given(node, "scan_output_directions", outputs)),
    )
    _run(ctx, low, plan)


def _batched(
    ctx: Context, low: Lowering, body: Graph, inputs: Sequence[Operand], states: int
) -> None:
    """Scan of opset 8: the whole loop once for each sample of the batch."""
    node = low.node
    directions = _given(node, "directions", len(inputs) - states)
    batch = {operand.shape[0] for operand in inputs}
    sizes = {operand.shape[1] for operand in inputs[states:]}
    if len(batch) != 1 or len(sizes) != 1:
        raise UnsupportedError("its inputs disagree on batch or length", "repair the model")
    samples, steps = batch.pop(), sizes.pop()
    stacks = [Stack(0, samples) for _ in body.outputs]
    outer = captured(ctx, body)
    with low.loop("B", samples) as sample:
        own = [Operand(taken(operand, 0, sample)) for operand in inputs]
        plan = _Plan(
            body,
            steps,
            (),
            tuple(o.value for o in own[:states]),
            None,
            tuple((o, 0, bool(d)) for o, d in zip(own[states:], directions, strict=True)),
            (0,) * (len(body.outputs) - states),
            (False,) * (len(body.outputs) - states),
        )
        found = _iterate(ctx, low, plan, outer, steps)
        for k, (value, stack) in enumerate(zip(found, stacks, strict=True)):
            stack.add(low, f"batch{k}", Affine.of(sample), low.of(value, f"sample{k}"))
    for position, stack in enumerate(stacks):
        low.view(stack.result(low), position)


def _run(ctx: Context, low: Lowering, plan: _Plan) -> None:
    outer = captured(ctx, plan.body)
    if plan.steps == 0:
        if plan.axes:
            raise UnsupportedError("it has no steps to stack", "remove the loop")
        results = list(plan.carried)
    elif plan.steps is None:
        results = _unroll(ctx, low, plan, outer)
    else:
        mark = low.builder.mark()
        try:
            results = _iterate(ctx, low, plan, outer, plan.steps)
        except UnsupportedError as refusal:
            low.builder.rollback(mark)
            try:
                results = _unroll(ctx, low, plan, outer)
            except UnsupportedError:
                raise refusal from None
    for position, value in enumerate(results):
        low.view(value, position)


def _iterate(
    ctx: Context, low: Lowering, plan: _Plan, outer: dict[str, Value], steps: int
) -> list[Value]:
    """The loop as an iterative rank: states carry a rank of steps + 1 slices."""
    bound = {n: _settled(low, v, n) for n, v in outer.items()}
    states = [
        start(low, f"state{k}", low.of(v, f"init{k}"), steps) for k, v in enumerate(plan.carried)
    ]
    running = None
    if plan.running is not None:
        if plan.axes:
            raise UnsupportedError(
                "its condition is computed at run time, so the number of slices that it stacks "
                "depends on data",
                "give a constant trip count and condition",
            )
        running = start(low, "running", low.of(plan.running, "condition"), steps)
    stacks = [Stack(a, steps, b) for a, b in zip(plan.axes, plan.backward, strict=True)]
    with low.loop("T", steps) as step:
        bound |= _inputs(plan, step, states, running, steps)
        found = inline(ctx, low.node, plan.body, bound)
        condition = found[0] if plan.first_output else None
        states_out = found[plan.first_output :][: len(states)]
        running = _condition(steps, running, condition)
        for k, (state, value) in enumerate(zip(states, states_out, strict=True)):
            new = low.of(value, f"next{k}")
            if running is not None:
                new = _kept(low, f"kept{k}", running, step, state, new)
            advance(low, state, step, new)
        for k, stack in enumerate(stacks):
            part = low.of(found[plan.first_output + len(states) + k], f"slice{k}")
            stack.add(low, f"stack{k}", Affine.of(step), part)
        if running is not None and condition is not None:
            more = low.of(condition, "more")
            flag = call("and", _flag(running, step), more.at(*[0] * len(more.shape)))
            advance(low, running, step, low.let("go", [], flag))
    return [s.final for s in states] + [s.result(low) for s in stacks]


def _inputs(
    plan: _Plan, step: str, states: Sequence[State], running: State | None, steps: int
) -> dict[str, Value]:
    """What the body reads in a step, by name."""
    values: list[Value] = []
    if plan.numbered:
        go = running.before(step) if running else constant_value(np.array(True))
        values = [counter(step), go]
    values += [state.before(step) for state in states]
    for operand, axis, backward in plan.scanned:
        place = Affine.of((step, -1), steps - 1) if backward else Affine.of(step)
        values.append(taken(operand, axis, place))
    return dict(zip(plan.body.formals, values, strict=True))


def _condition(steps: int, running: State | None, condition: Value | None) -> State | None:
    """The state that says whether the loop still runs, or None when it always does."""
    if condition is None or running is not None:
        return running
    constant = condition.constant
    if constant is not None and (bool(constant.reshape(()).item()) or steps == 1):
        return None
    raise UnsupportedError(
        "its condition may end it at a step that depends on data", "give a constant condition"
    )


def _flag(running: State, step: str) -> Access:
    expr = running.before(step).expr
    assert isinstance(expr, Access)
    return expr


def _kept(
    low: Lowering, suffix: str, running: State, step: str, state: State, new: Operand
) -> Operand:
    """The new value while the loop runs, else the old one."""
    old = Operand(state.before(step))
    ranks = low.variables(old)
    select = call("where", _flag(running, step), new.at(*ranks), old.at(*ranks))
    return low.let(suffix, ranks, select, dtype=old.dtype)


def _unroll(ctx: Context, low: Lowering, plan: _Plan, outer: dict[str, Value]) -> list[Value]:
    """The body once for each step, the number of the step a constant."""
    if plan.steps is not None and plan.steps > MAX_UNROLLED:
        raise UnsupportedError(f"it has {plan.steps} steps", "make its body the same each step")
    if plan.running is not None:
        raise UnsupportedError("its condition is computed at run time", "make it constant")
    values = list(plan.carried)
    slices: list[list[Value]] = [[] for _ in plan.axes]
    for step in count():
        if step == plan.steps:
            break
        if step == MAX_UNROLLED:
            raise UnsupportedError(
                f"its condition holds for more than {MAX_UNROLLED} steps", "give a trip count"
            )
        given: list[Value] = []
        if plan.numbered:
            given = [constant_value(np.array(step)), constant_value(np.array(True))]
        given += values
        for operand, axis, backward in plan.scanned:
            last = operand.shape[axis] - 1
            given.append(taken(operand, axis, last - step if backward else step))
        bound = outer | dict(zip(plan.body.formals, given, strict=True))
        found = inline(ctx, low.node, plan.body, bound)
        values = found[plan.first_output :][: len(values)]
        for part, value in zip(slices, found[plan.first_output + len(values) :], strict=True):
            part.append(value)
        if plan.first_output:
            go = found[0].constant
            if go is None:
                raise UnsupportedError("its condition is computed at run time", "make it constant")
            if not go.reshape(()).item():
                break
    stacks = []
    for k, part in enumerate(slices):
        stack = Stack(plan.axes[k], len(part), plan.backward[k])
        for step, found_slice in enumerate(part):
            own = low.of(found_slice, f"slice{k}_{step}")
            stack.add(low, f"stack{k}", Affine.of(step), own)
        stacks.append(stack.result(low))
    return values + stacks


def _settled(low: Lowering, value: Value, label: str) -> Value:
    """An outer value without pending work, so that it is not computed again in each step."""
    return value if value.constant is not None else low.of(value, label).value


def _body(node: Node, name: str) -> Graph:
    body = node.get(name, None)
    if not isinstance(body, Graph):
        raise UnsupportedError(f"it has no {name}", "repair the model")
    return body


def _given(node: Node, name: str, count: int) -> list[int]:
    """A list attribute, padded with zeros."""
    values = [int(v) for v in node.get(name, ())]
    if len(values) not in (0, count):
        raise UnsupportedError(f"{name} has {len(values)} entries, not {count}", "repair the model")
    return values or [0] * count


LOWERINGS = {
    ("", "If"): conditional,
    ("", "Loop"): loop,
    ("", "Scan"): scan,
    (OLD_DOMAIN, "Scan"): scan,
}
