"""Fuzzes the importer: ``python -m tests.fuzz.run --count 10000 --seed 0``.

Each case is a mutated model in a worker process with limits. A finding is anything but a
DataflowError or a Cascade: another exception, a dead worker, more than 10 CPU seconds, more than
2 GiB, a file touched that is none of its business.
"""

from __future__ import annotations

import argparse
import json
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WALL_SECONDS = 120
"""A worker that is silent for so long waits for something; CPU time has its own limit."""


@dataclass
class Outcomes:
    """What the cases came to.

    Attributes:
        counts: number of cases by outcome.
        findings: case numbers by what is wrong.
        slowest: CPU seconds and number of the slowest case.
    """

    counts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    slowest: tuple[float, int] = (0.0, 0)

    def add(self, case: int, outcome: str, finding: str, seconds: float) -> None:
        self.counts[outcome] += 1
        self.slowest = max(self.slowest, (seconds, case))
        if finding:
            self.findings[finding].append(case)


class Worker:
    """A process that runs cases; started anew when it dies."""

    def __init__(self, folder: Path, seed: int, models: Sequence[Path]) -> None:
        self.folder, self.seed, self.models = folder, seed, models
        self.count = 0
        self.case: int | None = None
        self.process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        self.count += 1
        place = self.folder / str(self.count)
        place.mkdir(parents=True)
        self.log = (place / "stderr").open("w+")
        names = [str(m.resolve()) for m in self.models]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", str(place), str(self.seed), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        ready = self.read(WALL_SECONDS)
        if ready is None or "ready" not in ready:
            raise RuntimeError(f"a worker does not start:\n{self.error_text()}")

    def send(self, case: int) -> None:
        self.case = case
        assert self.process.stdin is not None
        self.process.stdin.write(f"{case}\n")
        self.process.stdin.flush()

    def read(self, seconds: float) -> dict[str, object] | None:
        """The next answer; None when the worker died or is silent for too long."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = self.process.stdout.readline()
        return dict(json.loads(line)) if line.strip() else None

    def error_text(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def buried(self) -> str:
        """Ends a worker that gave no answer; says why it gave none."""
        if self.process.poll() is None:
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return f"silent for {WALL_SECONDS} s"
        code = self.process.returncode
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        frames = re.findall(r'File "([^"]*)", line (\d+) in (\S+)', self.error_text())
        ours = [f"{Path(f).name}:{n} ({w})" for f, n, w in frames if "/dataflow/" in f]
        what = "more than 10 CPU s" if name == "SIGXCPU" else f"the process died ({name})"
        return f"{what} in {', '.join(ours[:2]) or 'a library'}"

    def stop(self) -> None:
        """Ends the process, if it still runs, and closes its files."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def fuzz(
    cases: Sequence[int], seed: int, workers: int = 1, models: Sequence[Path] = ()
) -> Outcomes:
    """Runs the cases; the same outcomes for the same arguments, whatever the number of workers."""
    outcomes = Outcomes()
    folder = Path(tempfile.mkdtemp(prefix="dataflow-fuzz-"))
    try:
        team = [Worker(folder / str(k), seed, models) for k in range(min(workers, len(cases)))]
        queue = iter(cases)
        with selectors.DefaultSelector() as selector:
            for worker in team:
                _next(worker, queue, selector)
            while selector.get_map():
                ready = selector.select(WALL_SECONDS)
                found = [key.data for key, _ in ready]
                for worker in found or [w for w in team if w.case is not None]:
                    selector.unregister(worker.process.stdout)
                    _collect(worker, outcomes)
                    _next(worker, queue, selector)
        for worker in team:
            worker.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def _next(worker: Worker, queue: Iterator[int], selector: selectors.DefaultSelector) -> None:
    case = next(queue, None)
    worker.case = None
    if case is not None:
        worker.send(case)
        assert worker.process.stdout is not None
        selector.register(worker.process.stdout, selectors.EVENT_READ, worker)


def _collect(worker: Worker, outcomes: Outcomes) -> None:
    answer = worker.read(1)
    assert worker.case is not None
    if answer is None:
        outcomes.add(worker.case, "lost", worker.buried(), 0.0)
        worker.stop()
        worker.start()
        return
    outcome, finding = str(answer["outcome"]), str(answer["finding"])
    seconds = answer["seconds"]
    assert isinstance(seconds, float)
    outcomes.add(worker.case, outcome, finding, seconds)


def show(outcomes: Outcomes) -> None:
    """Prints the counts, and the findings grouped by where they come from."""
    groups: dict[str, list[tuple[str, list[int]]]] = defaultdict(list)
    for finding, cases in outcomes.findings.items():
        groups[re.sub(r"\): .*", ")", finding)].append((finding, cases))
    for _, members in sorted(groups.items(), key=lambda g: -sum(len(c) for _, c in g[1])):
        numbers = sorted(n for _, cases in members for n in cases)
        print(f"{len(numbers):6}  {members[0][0]}")
        print(f"        cases {' '.join(map(str, numbers[:6]))}")
    print(", ".join(f"{n} {name}" for name, n in sorted(outcomes.counts.items())))
    seconds, case = outcomes.slowest
    print(f"slowest: case {case}, {seconds:.2f} CPU s")
    total = sum(len(c) for c in outcomes.findings.values())
    print(f"{sum(outcomes.counts.values())} cases, {total} findings")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 without findings, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--models",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder of .onnx files to mutate besides the built-in ones",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write case --first and stop")
    options = parser.parse_args(arguments)
    if options.write:
        from tests.fuzz.mutate import mutated
        from tests.fuzz.seeds import models

        options.write.write_bytes(mutated(models(options.models), options.seed, options.first))
        return 0
    cases = range(options.first, options.first + options.count)
    outcomes = fuzz(cases, options.seed, options.workers, options.models)
    show(outcomes)
    return int(bool(outcomes.findings))


if __name__ == "__main__":
    sys.exit(main())
