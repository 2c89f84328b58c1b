"""The memory map on the page: where boxes stand, what is said to bound it, damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import DataflowError
from dataflow.report import write_report
from dataflow.report.figure import WIDTH
from dataflow.report.memory import AXIS, HEIGHT, MemoryFile, load_memory, memory_figure
from tests.report import samples
from tests.report.test_report import page_of

MAP: dict[str, Any] = {
    "capacity": 4096,
    "top": 3072,
    "peak": {"bytes": 2048, "layer": "conv2", "regions": ["a", samples.HOSTILE]},
    "resident": {
        "a": {"offset": 0, "bytes": 1024, "pitch": 16, "lifetime": [0, 2]},
        "view_of_a": {"offset": 0, "bytes": 1024, "pitch": 16, "lifetime": [0, 2]},
        "never": {"offset": 0, "bytes": 64, "pitch": 16},
    },
    "buffers": {samples.HOSTILE: {"offset": 2048, "bytes": 1024, "pitch": 16, "lifetime": [1, 2]}},
    "dram": {},
}


def _folder(tmp_path: Path, document: object) -> Path:
    out = samples.folder(tmp_path)
    (out / "mapping").mkdir()
    (out / "mapping" / "memory_map.json").write_text(json.dumps(document))
    return out


def test_boxes_stand_at_their_offsets_over_their_layers() -> None:
    drawn = memory_figure(MemoryFile.model_validate(MAP))
    kept, stream = drawn.boxes  # a view is its tensor's box, what never lives has none
    half = (WIDTH - AXIS) / 2
    assert (kept.x, kept.width) == (AXIS, 2 * half)
    assert (kept.y, kept.height) == (HEIGHT * 3 / 4, HEIGHT / 4)
    assert (stream.x, stream.width) == (AXIS + half, half)
    assert (stream.y, stream.height) == (HEIGHT / 4, HEIGHT / 4)
    assert stream.title.endswith("bytes 2048 to 3072, layers 1 to 1")
    assert drawn.peak_y == HEIGHT / 2
    assert kept.style != stream.style == "other"


def test_the_page_says_what_bounds_the_memory_and_takes_names_as_text(tmp_path: Path) -> None:
    page = page_of(_folder(tmp_path, MAP))
    text = " ".join(page.texts)
    assert "At the layer conv2 2 KiB are alive, and no placement needs less" in text
    assert "3 KiB of 4 KiB are used" in text
    assert "script" not in page.tags
    assert ("aria-label", "Offsets against layers") in page.attributes


def test_a_folder_without_a_memory_map_has_no_picture_of_it(tmp_path: Path) -> None:
    out = samples.folder(tmp_path)
    assert load_memory(out) is None
    assert "Activation memory" not in " ".join(page_of(out).texts)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"capacity": 0}, "capacity: input should be greater than 0"),
        ({"peak": {"bytes": 1, "layer": "x"}}, "peak.regions: field required"),
    ],
)
def test_a_damaged_memory_map_is_named(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    out = _folder(tmp_path, {**MAP, **change})
    with pytest.raises(DataflowError) as caught:
        write_report(out)
    assert str(caught.value) == (
        f"{out}/mapping/memory_map.json: {what}; run dataflow compile again"
    )
