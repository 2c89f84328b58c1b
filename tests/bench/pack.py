"""The packer's table: ``python -m tests.bench.pack [--folder MINIMALLOC] [--seeds N] ...``.

Prints, in CPU seconds without compilation: MiniMalloc's instances at 1048576 bytes by seed (when
their folder is found or given), generated memories that are nearly full with plain first fit
beside, and a network's trace with a million buffers. Every placement is judged. Exit status 1 when
an instance of MiniMalloc is not solved; failures are listed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dataflow.memory import Buffer, Packing, minimise, pack, read_buffers, validate
from dataflow.memory.offsets.arrays import Terms, parts
from dataflow.memory.offsets.firstfit import first_fit
from tests.memory.generators import guillotine, layered, near_full, skyline, trace

CAPACITY = 1 << 20
SIZES = (50, 100, 200, 500, 1000, 2000)
Generator = Callable[[int, int], tuple[list[Buffer], int]]
GENERATORS: dict[str, Generator] = {
    make.__name__: make for make in (near_full, guillotine, skyline, layered)
}


def folder() -> Path | None:
    """MiniMalloc's instances beside the checkout, or None."""
    places = (p / "shared/reference/data/minimalloc" for p in Path(__file__).resolve().parents)
    return next((p for p in places if p.is_dir()), None)


def timed(run: Callable[[], Packing]) -> tuple[Packing, float]:
    """The result and its CPU seconds."""
    started = time.process_time()
    found = run()
    return found, time.process_time() - started


def plain_first_fit(buffers: Sequence[Buffer]) -> int:
    """The top of first fit, largest area, size or life first."""
    return max(int((first_fit(p) + p.size).max()) * p.unit for p in parts(buffers, Terms()))


def share_full(buffers: Sequence[Buffer], capacity: int) -> float:
    """Share of the time points at which 97 % of the capacity is alive."""
    change: dict[int, int] = {}
    for b in buffers:
        change[b.start] = change.get(b.start, 0) + b.size
        change[b.end] = change.get(b.end, 0) - b.size
    points = sorted(change)[:-1]
    now = full = 0
    for point in points:
        now += change[point]
        full += now >= 0.97 * capacity
    return full / len(points)


def minimalloc(source: Path, seeds: int) -> bool:
    """One line for each instance; whether all were solved."""
    solved, total = True, 0.0
    for path in sorted(source.glob("*.csv")):
        buffers = read_buffers(path, CAPACITY)
        took, nodes = [], []
        for seed in range(seeds):
            found, seconds = timed(lambda b=buffers, s=seed: pack(b, CAPACITY, seed=s))  # type: ignore[misc]
            took.append(seconds)
            nodes.append(found.nodes)
            if found.offsets is None:
                solved = False
                print(f"  {path.name} seed {seed}: {found.reason}")
            else:
                validate(buffers, found.offsets, CAPACITY)
        total += sum(took) / seeds
        print(
            f"{path.name}: {len(buffers)} buffers, mean {sum(took) / seeds:.3f} s, "
            f"most {max(took):.3f} s, nodes {sum(nodes) // seeds} to {max(nodes)}"
        )
    print(f"together {total:.3f} s mean")
    return solved


def generated(make: Generator, count: int, effort: int) -> None:
    """Memories nearly full: `count` of each size."""
    fitted = good = full = total = 0
    for size in SIZES:
        for seed in range(count):
            buffers, capacity = make(1000 * size + seed, size)
            found, seconds = timed(lambda b=buffers, c=capacity: pack(b, c, effort=effort))  # type: ignore[misc]
            total += 1
            fitted += plain_first_fit(buffers) <= capacity
            full += share_full(buffers, capacity) >= 0.5
            if found.offsets is not None:
                validate(buffers, found.offsets, capacity)
            if found.offsets is not None and seconds <= 10:
                good += 1
            else:
                print(f"  failed: {make.__name__}({1000 * size + seed}, {size}), {seconds:.1f} s")
    print(
        f"{make.__name__}: {good} of {total} solved within 10 s; plain first fit {fitted}; "
        f"{full} are 97 % full at half of their time points or more",
        flush=True,
    )


def million(count: int) -> None:
    """A trace of `count` buffers."""
    buffers = trace(0, count)
    found, seconds = timed(lambda: minimise(buffers))
    validate(buffers, found.require(), found.top)
    print(
        f"trace: {len(buffers)} buffers, {seconds:.1f} s, {100 * (found.top / found.bound - 1):.2f}"
        " % above what is alive at once"
    )


def main() -> int:
    """Runs the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=folder())
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--generated", type=int, default=10, help="of each size")
    parser.add_argument("--effort", type=int, default=2_000_000, help="nodes for a generated one")
    parser.add_argument("--only", choices=list(GENERATORS), help="one generator")
    parser.add_argument("--trace", type=int, default=1_000_000, help="buffers")
    given = parser.parse_args()
    csv.field_size_limit(1 << 20)
    for warm in (near_full(1, 60)[0], trace(1, 30_000)):
        minimise(warm, effort=2000)  # compiles
    solved = True
    if given.folder is None:
        print("MiniMalloc's instances are not here: give --folder")
    else:
        solved = minimalloc(given.folder, given.seeds)
    if given.generated:
        for name, make in GENERATORS.items():
            if given.only in (None, name):
                generated(make, given.generated, given.effort)
    if given.trace:
        million(given.trace)
    return 0 if solved else 1


if __name__ == "__main__":
    sys.exit(main())
