"""The fault campaign: ``python -m tests.faults.run [--arch edge8] [--single 5000] [--multi 1000]``.

``--rows`` corrupts programs of softmaxes, normalisations and functions; ``--fields function mode``
changes these fields alone where one is changed.

Exit code 1 when a corrupted program hangs the machine, reaches outside its regions, ends beyond its
limit, is not refused where it must be, or disturbs the job behind it.
"""

from __future__ import annotations

import argparse
import sys

from tests.faults.campaign import campaign


def main(arguments: list[str] | None = None) -> int:
    """Runs the campaign and prints how the programs ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run")
    parser.add_argument("--arch", default="edge8")
    parser.add_argument("--single", type=int, default=5000, help="programs with one changed field")
    parser.add_argument("--multi", type=int, default=1000, help="programs with two to eight")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stall", type=float, default=0.0, help="handshakes refused, 0 to 1")
    parser.add_argument("--rows", action="store_true", help="programs with functions of rows")
    parser.add_argument("--fields", nargs="*", default=(), help="names; single changes alone")
    chosen = parser.parse_args(arguments)
    found = campaign(
        chosen.arch,
        chosen.single,
        chosen.multi,
        chosen.seed,
        stall=chosen.stall,
        rows=chosen.rows,
        fields=chosen.fields,
    )
    for kind, count in found.ends.most_common():
        print(f"{count:6} {kind}")
    for line in found.wrong[:40]:
        print(f"WRONG: {line}")
    print(f"{chosen.arch}: {sum(found.ends.values())} programs, {len(found.wrong)} wrong")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
