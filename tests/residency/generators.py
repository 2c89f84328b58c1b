"""Random schedules."""

from __future__ import annotations

import random

from dataflow.residency import Access, Machine, Schedule, Step, Tensor

WORD = 16


def random_schedule(
    seed: int, steps: int = 12, words: int = 40, ragged: bool = True, weights: float = 0.7
) -> Schedule:
    """A network of one input, weights and activations with branches.

    Args:
        words: most words of a tensor.
        ragged: sizes need not be whole words, and streams may be read several times.
    """
    rng = random.Random(seed)

    def size() -> int:
        count = rng.randint(1, words) * WORD
        return max(count - rng.randint(0, WORD - 1), 1) if ragged else count

    tensors = {"x": Tensor("x", size(), "input")}
    made: list[str] = ["x"]
    found: list[Step] = []
    for u in range(steps):
        old = [made[-1]]
        if len(made) > 2 and rng.random() < 0.5:
            old.append(rng.choice(made[-4:-1]))
        reads = [Access(n, rng.choice((1, 1, 2)) if ragged else 1) for n in old]
        if rng.random() < weights:
            name = f"w{u}"
            shared = [n for n in tensors if tensors[n].kind == "weight"]
            if shared and rng.random() < 0.25:
                name = rng.choice(shared)
            tensors.setdefault(name, Tensor(name, size(), "weight"))
            reads.append(Access(name))
        new = f"y{u}"
        last = u == steps - 1
        in_place: tuple[tuple[str, str], ...] = ()
        source = rng.choice(old)
        if tensors[source].kind == "activation" and rng.random() < 0.4:
            tensors[new] = Tensor(new, tensors[source].bytes, "activation", last)
            in_place = ((new, source),)
        else:
            tensors[new] = Tensor(new, size(), "activation", last or rng.random() < 0.1)
        made.append(new)
        found.append(Step(f"s{u}", rng.randint(0, 2 * words), tuple(reads), (new,), in_place))
    return Schedule(f"random{seed}", tensors, tuple(found))


def random_machine(seed: int, words: int = 40) -> Machine:
    """A memory that holds a few of such tensors, or hardly one."""
    rng = random.Random(seed)
    return Machine(
        WORD * rng.randint(2, 4 * words), rng.choice((4, 8, 16)), WORD * rng.randint(0, 2), WORD
    )
