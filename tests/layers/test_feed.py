"""Feed modes: what they need of a layer, and that few files know them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dataflow.layers.axis import Window
from dataflow.layers.feed import Feed

ROOT = Path(__file__).parents[2]
KNOW_THE_DEPTHWISE_MODE = {
    "dataflow/layers/feed.py",
    "dataflow/layers/passes.py",
    "dataflow/tiling/feed.py",
    "dataflow/machine/isa.py",
    "dataflow/program/fields.py",
    "dataflow/timing/sequencer.py",
    "dataflow/emit/hls/layer.py",
    "hw/hls/df_array.h",
    "hw/rtl/array/array_feed.sv",
    "hw/rtl/array/array_pkg.sv",
    "hw/rtl/array/array_sequencer.sv",
    "hw/rtl/array/pe_array.sv",
}
"""What a new mode of the array touches: at most 12 files."""

ONLY_HAND_ON = {
    "dataflow/layers/tiling.py": "declares the fields of a mapping",
    "dataflow/layers/tiled.py": "a docstring",
    "dataflow/emit/hls/project.py": "prints the largest shift register",
    "dataflow/mapper/files.py": "reads and writes the fields",
    "dataflow/timing/layout.py": "declares the sequencer's registers",
    "dataflow/lower/roles.py": "a docstring",
    "dataflow/tiling/kernel.py": "hands the fields on",
}
"""Files with the name of a field of the mode, which a mode without new fields leaves alone."""

NAMES = re.compile(r"\b_?fir(_taps|_stride)?\b")


def test_few_files_know_a_mode_of_the_array() -> None:
    assert len(KNOW_THE_DEPTHWISE_MODE) <= 12
    files = [*ROOT.glob("dataflow/**/*.py"), *ROOT.glob("hw/**/*.sv"), *ROOT.glob("hw/hls/*.h")]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    named = {name for name, text in texts.items() if NAMES.search(text)}
    assert named - set(ONLY_HAND_ON) <= KNOW_THE_DEPTHWISE_MODE
    decide = {name for name, text in texts.items() if '"fir"' in text}
    assert decide <= KNOW_THE_DEPTHWISE_MODE


@pytest.mark.parametrize(
    ("feed", "reason"),
    [
        (Feed("fir", 3, 6), "3 ports of 6 taps on 16 rows"),
        (Feed("fir", 1, 5), "5 taps of 3"),
        (Feed("fir", 1, 3), "stride 1 is no multiple of dilation 2"),
        (Feed(group_pack=9), "9 groups of 2 columns on 16 columns"),
        (Feed(group_pack=0), "0 groups of 2 columns on 16 columns"),
    ],
)
def test_what_a_mode_cannot_do(feed: Feed, reason: str) -> None:
    window = Window(9 if "ports" in reason else 3, 1, 2 if "dilation" in reason else 1)
    assert feed.obstacles(True, window, window, 2, True, (16, 16)) == [reason]


def test_the_fir_feed_is_for_depthwise_layers() -> None:
    window = Window(3, 1, 1)
    found = Feed("fir", 3, 3).obstacles(False, window, window, 1, False, (16, 16))
    assert found == ["the fir feed is for depthwise layers"]


def test_steps_between_points_follow_the_inner_loop() -> None:
    rows, columns = Window(3, 4, 2), Window(3, 3, 1)
    assert Feed("fir", 1, 3).point_stride(rows, columns) == 3
    assert Feed("fir", 1, 3, swap=True).point_stride(rows, columns) == 2
    assert Feed("fir", 3, 1).point_stride(rows, columns) == 1
    assert Feed().point_stride(rows, columns) == 1
