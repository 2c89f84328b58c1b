"""Mappings of the FLAT baseline: a head, or a block of queries, whose scores stay on chip.

The scores of 4096 x 4096 (16384 x 1024, 65536 x 256) pairs fill the 32 MiB buffer to the last
byte, but tiles of Q, K, V and the result need space beside them. As many keys as must make room
are a cascade part of their own, whose scores go through DRAM.
"""

from __future__ import annotations

from collections.abc import Iterable


def nest(tokens: int, block: int, spilled: int) -> str:
    """The mapping for blocks of ``block`` queries; ``spilled`` keys have no place on chip."""
    if tokens > 65536:
        return _off_chip(tokens)
    parts = [("", "m", tokens)]
    if spilled:
        parts = [("A", "ma", tokens - spilled), ("B", "mb", spilled)]
    first = parts[0][0]
    lines = ["group attention", "  hold dram: Q, K, V, AV", "  for h tile 1"]
    lines.append(f"    for p tile {block}")
    if spilled:
        lines.append("      hold dram: QKB, SNB, AB")
    score = "A" if not spilled else "AA"
    lines.append(f"      hold global_buffer: QK{first} = SN{first} = {score}")
    lines.append("      together")
    lines += _indent(4, ["branch", "  for p tile 256"])
    lines += _indent(6, _join(_scores(*part, tokens) for part in parts))
    lines += _indent(4, ["branch", "  for p tile 256", "    par p tile 1 on lanes"])
    sums = "GMA, GM, SDA, SD" if spilled else "GM, SD"
    lines += _indent(7, [f"hold lane_registers: {sums}", *_softmax([p[:2] for p in parts])])
    lines += _indent(4, ["branch", "  for p tile 256"])
    held = "AVA, AV" if spilled else "AV x2"
    lines += _indent(6, [f"hold global_buffer: {held}", *_join(_values(*p) for p in parts)])
    return "\n".join(lines) + "\n"


def _scores(suffix: str, m: str, keys: int, tokens: int) -> list[str]:
    tile, inner = 256, 256
    if suffix == "A":  # with the spilled keys as the last of all tiles
        tile = -(-keys // (tokens // 256 - 1))
        inner = -(-tile // 2)
    elif suffix == "B":
        tile = inner = min(256, keys)
    return [
        f"for {m} tile {tile}",
        "  hold global_buffer: Q, K x2",
        f"  for {m} tile {inner}",
        "    par p tile 1 on columns",
        f"      par {m} tile 1 on rows",
        f"        hold pe_registers: QK{suffix}",
        "        for e tile 1",
        f"          compute QK{suffix} on pe",
    ]


def _values(suffix: str, m: str, keys: int) -> list[str]:
    return [
        f"for {m} tile {min(256, keys)}",
        "  hold global_buffer: V x2",
        "  par p tile 1 on columns",
        f"    par {m} tile 1 on rows",
        f"      hold pe_registers: A{suffix}",
        "      for f tile 1",
        f"        compute {'AVA' if suffix == 'A' else 'AV'} on pe",
    ]


def _softmax(parts: list[tuple[str, str]]) -> list[str]:
    lines = []
    for suffix, m in parts:
        maximum = "GMA" if suffix == "A" else "GM"
        lines += ["branch", f"  for {m} tile 1", f"    compute {maximum} on lane"]
    for suffix, m in parts:
        total = "SDA" if suffix == "A" else "SD"
        lines += ["branch", f"  for {m} tile 1", f"    hold lane_registers: SN{suffix}"]
        lines += ["    branch", f"      compute SN{suffix} on lane"]
        lines += ["    branch", f"      compute {total} on lane"]
    for suffix, m in parts:
        lines += ["branch", f"  for {m} tile 1", f"    compute A{suffix} on lane"]
    return lines


def _off_chip(tokens: int) -> str:
    """From 256K on: scores and weights go off chip, blocks of 1024 queries and results stay."""
    row = f"par m tile {tokens // 256} on lanes"
    return f"""\
group attention
  hold dram: Q, K, V, AV, QK, A
  for h tile 1
    for p tile 1024
      hold global_buffer: Q, AV
      together
        branch
          for m tile 256
            hold global_buffer: K
            for p tile 256
              par p tile 1 on columns
                par m tile 1 on rows
                  hold pe_registers: QK
                  for e tile 1
                    compute QK on pe
        branch
          for p tile 1
            hold global_buffer: QK, SN, GM, SD
            branch
              {row}
                hold lane_registers: GM
                for m tile 1
                  compute GM on lane
            branch
              {row}
                for m tile 1
                  compute SN on lane
            branch
              {row}
                hold lane_registers: SD
                for m tile 1
                  compute SD on lane
            branch
              {row}
                for m tile 1
                  compute A on lane
        branch
          for m tile 256
            hold global_buffer: V
            for p tile 256
              par p tile 1 on columns
                par m tile 1 on rows
                  hold pe_registers: A
                  for f tile 1
                    compute AV on pe
"""


def _join(parts: Iterable[list[str]]) -> list[str]:
    """Parts one after another; a single one is no branch."""
    found = list(parts)
    if len(found) == 1:
        return found[0]
    return [line for part in found for line in ["branch", *_indent(1, part)]]


def _indent(depth: int, lines: Iterable[str]) -> list[str]:
    return ["  " * depth + line for line in lines]
