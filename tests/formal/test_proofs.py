"""Proofs by temporal induction with the SAT solver of Yosys: what a module has under FORMAL.

A proof holds for every sequence of inputs, of any length, at the sizes that are listed. Each has a
fault that it has to find: a proof that cannot fail shows nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.emit import sv_package
from dataflow.emit.rtl import library
from dataflow.errors import DataflowError
from dataflow.implement.tools import YOSYS, run
from dataflow.machine import machine_of

STEPS = 8  # the deepest induction that is tried
COMMON = """prep -flatten -top {module}
memory_map
async2sync
dffunmap
chformal -lower
sat -verify -tempinduct -prove-asserts -set-assumes -seq 1 -maxsteps {steps}
"""


@dataclass(frozen=True)
class Proof:
    """A module, its sizes, and a fault: a line and what it becomes.

    Attributes:
        parameters: of the module.
        constants: of the package, made small.
        package: the module imports the package; then slang reads it, else Yosys' own reader,
            which knows free constants.
    """

    module: str
    fault: tuple[str, str]
    parameters: dict[str, int] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    package: bool = False

    @property
    def name(self) -> str:
        """For the test's name."""
        return "-".join([self.module, *(f"{k}{v}" for k, v in self.parameters.items())])


PROOFS = (
    # Bounds, the hold rule, order and contents of what goes through.
    *(
        Proof(
            "fifo",
            ("head_q == PtrW'(Depth - 1) ? '0", "head_q == PtrW'(Depth - 2) ? '0"),
            {"Width": 2, "Depth": depth},
        )
        for depth in (2, 3, 4, 7)
    ),
    # The same with the offered word in a register.
    *(
        Proof(
            "fifo",
            ("offered_q <= store_q[next]", "offered_q <= store_q[head_q]"),
            {"Width": 2, "Depth": depth, "HeadRegister": 1},
        )
        for depth in (2, 3, 4, 7)
    ),
    # Who is granted, and who gives way to whom.
    Proof("bank_arbiter", ("|| (behind == '1 && two_i[c])", ""), package=True),
    # Registers that say a step ahead which index is the last.
    Proof(
        "loop_nest",
        ("last_q[l] <= next == trips_i[l];", "last_q[l] <= next_q[l] == trips_i[l];"),
        package=True,
    ),
    # An event that was reached stays reached.
    Proof(
        "event_wait",
        ("target_q[WholeW-1:EventW] != 2'b01", "target_q[WholeW-1:EventW] != 2'b10"),
        package=True,
    ),
    # Bursts: where they are cut, and which beat is the last.
    Proof(
        "block_walker",
        ("- LinesW'(next.dram[11:LineIdxW]);", ";"),
        constants={"AxiAddrW": 16},
        package=True,
    ),
    Proof("burst_beats", ("last_q <= left == 9'd2;", "last_q <= left == 9'd1;"), package=True),
)

# Those at the machine's own widths take up to a minute.
CASES = [
    pytest.param(proof, id=proof.name, marks=[pytest.mark.slow] if proof.package else [])
    for proof in PROOFS
]

# What a module that is proved imports beside the machine's package.
PACKAGES = ("dma_pkg",)


def prove(proof: Proof, text: str, folder: Path) -> None:
    """Proves the assertions of a module's text. Raises DataflowError when they are not proved."""
    (folder / f"{proof.module}.sv").write_text(text, encoding="utf-8")
    if proof.package:
        package = sv_package(machine_of(load_architecture("edge8")))
        for name, value in proof.constants.items():
            package, found = re.subn(rf"\b{name} = \d+;", f"{name} = {value};", package)
            assert found == 1, name
        (folder / "df_pkg.sv").write_text(package, encoding="utf-8")
        for name in PACKAGES:
            (folder / f"{name}.sv").write_text(source(name), encoding="utf-8")
        read = (
            f"read_slang -j 1 -D SYNTHESIS -D FORMAL --top {proof.module} "
            f"{' '.join(f'{name}.sv' for name in ('df_pkg', *PACKAGES, proof.module))}\n"
        )
    else:
        values = " ".join(f"-set {name} {value}" for name, value in proof.parameters.items())
        read = f"read_verilog -sv -formal {proof.module}.sv\nchparam {values} {proof.module}\n"
    script = read + COMMON.format(module=proof.module, steps=STEPS)
    (folder / "proof.ys").write_text(script, encoding="utf-8")
    run(YOSYS, ["-q", "-s", "proof.ys"], folder, folder / "proof.log")


def source(module: str) -> str:
    return next(p for p in library(simulation=False) if p.stem == module).read_text("utf-8")


@pytest.mark.parametrize("proof", CASES)
def test_proof_holds(proof: Proof, tmp_path: Path) -> None:
    prove(proof, source(proof.module), tmp_path)


@pytest.mark.parametrize("proof", CASES)
def test_proof_finds_its_fault(proof: Proof, tmp_path: Path) -> None:
    text = source(proof.module)
    assert text.count(proof.fault[0]) == 1
    with pytest.raises(DataflowError, match="proof did fail"):
        prove(proof, text.replace(*proof.fault), tmp_path)


def test_every_proof_is_listed() -> None:
    written = {p.stem for p in library(simulation=False) if "`ifdef FORMAL" in p.read_text("utf-8")}
    assert written == {proof.module for proof in PROOFS}
