"""The page and the terminal tables, from result files written by hand."""

from __future__ import annotations

import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from dataflow.errors import DataflowError
from dataflow.report import load_simulation, load_summary, print_report, write_report
from dataflow.report.figure import BUSY, LABEL, figure
from dataflow.report.picture import PICTURE_NAME, picture_text
from dataflow.report.results import Csim, Simulation, Summary, load_csim
from dataflow.report.rows import LayerRow, comparisons, layer_rows, output_rows, printable
from tests.report import samples


class Page(HTMLParser):
    """Collects tags, text and attributes; a tag that is closed in the wrong order is an error."""

    VOID = frozenset({"meta", "line", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def page_of(out: Path) -> Page:
    return Page(write_report(out).page.read_text(encoding="utf-8"))


def terminal_of(out: Path) -> str:
    console = Console(file=io.StringIO(), width=160, markup=False, highlight=False)
    print_report(console, load_summary(out), load_simulation(out), load_csim(out))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_page_shows_predicted_beside_simulated(tmp_path: Path) -> None:
    page = page_of(samples.folder(tmp_path))
    start = page.texts.index("conv1", page.texts.index("stalls of the array"))
    assert page.texts[start : start + 10] == [
        "conv1", "QLinearConv", "442,368", "4,000", "4,100", "0.9756", "42.0 %", "3 KiB", "0 B",
        "load 1,800, fetch 300",
    ]  # fmt: skip
    start = page.texts.index("cycles", start)
    assert page.texts[start : start + 4] == ["cycles", "61,000", "61,100", "0.9984"]
    start = page.texts.index("DRAM bytes read")
    assert page.texts[start : start + 4] == ["DRAM bytes read", "90,000", "90,000", "1"]
    for text in ("-0.16 %", "79.9 %", "31.3 dB", "RTL simulation: 0 mismatches with evaluate()"):
        assert text in page.texts
    work = "quantize x, dequantize logits, Softmax last (50 operations, 80 B)"
    assert f"{work}: outside the cycle counts." in page.texts


def test_page_needs_no_network(tmp_path: Path) -> None:
    page = page_of(samples.folder(tmp_path))
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert not {"src", "href", "action"} & {name for name, _ in page.attributes}
    text = (tmp_path / "report" / "index.html").read_text()
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_hostile_names_are_text(tmp_path: Path) -> None:
    page = page_of(samples.folder(tmp_path, samples.HOSTILE))
    assert "script" not in page.tags
    assert any(samples.HOSTILE in text for text in page.texts)


def test_same_results_same_page(tmp_path: Path) -> None:
    first = write_report(samples.folder(tmp_path / "a")).page.read_bytes()
    assert write_report(samples.folder(tmp_path / "b")).page.read_bytes() == first


def test_page_before_the_simulation(tmp_path: Path) -> None:
    page = page_of(samples.folder(tmp_path, with_simulation=False, with_csim=False))
    assert "1.7 % above the bound" in page.texts  # 61000 / 60000 - 1
    assert "cycles, predicted" in page.texts
    assert not any("mismatch" in text for text in page.texts)


def test_mismatches_are_shown_as_a_failure(tmp_path: Path) -> None:
    out = samples.folder(tmp_path, mismatches=1234)
    page = page_of(out)
    where = page.texts.index("RTL mismatches")
    assert page.texts[where + 1] == "1,234"
    assert ("class", "bad") in page.attributes
    assert "RTL simulation: 1,234 mismatches with evaluate()" in terminal_of(out)


def test_terminal_has_the_same_table(tmp_path: Path) -> None:
    text = terminal_of(samples.folder(tmp_path))
    line = next(line for line in text.splitlines() if line.split()[:1] == ["conv1"])
    assert line.split() == [
        "conv1", "442,368", "4,000", "4,100", "0.9756", "42.0", "%", "3", "KiB", "0", "B",
        "load", "1,800",
    ]  # fmt: skip
    assert "On the host: quantize x, dequantize logits, Softmax last (50 operations, 80 B)" in text


def test_terminal_takes_no_orders_from_names(tmp_path: Path) -> None:
    text = terminal_of(samples.folder(tmp_path, "[red]a\x1b[2Jb\r\nc"))
    assert "\x1b" not in text
    assert "[red]a\\x1b[2Jb\\r\\nc" in text.replace("\n", "")


def test_printable_keeps_letters_of_all_scripts() -> None:
    assert printable("größe 層 a/b:0") == "größe 層 a/b:0"
    assert printable("a\u202eb\0") == "a\\u202eb\\x00"


def row(name: str, cycles: int, predicted: int, **stalls: int) -> LayerRow:
    ratio = predicted / cycles if cycles else None
    return LayerRow(name, "", 0, predicted, cycles, ratio, None, None, None, tuple(stalls.items()))


def test_causes_of_the_cycles_stand_on_page_and_terminal(tmp_path: Path) -> None:
    out = samples.folder(tmp_path / "out")
    texts = page_of(out).texts
    at = texts.index("rows or columns without work")
    assert texts[at : at + 3] == ["rows or columns without work", "9,265", "15.2 %"]
    assert "waiting for weights, or loading them" not in texts  # none
    assert "rows or columns without work" in terminal_of(out)


def test_picture_shows_simulated_above_predicted(tmp_path: Path) -> None:
    out = samples.folder(tmp_path / "out", name=samples.HOSTILE)
    write_report(out)
    text = (out / "report" / PICTURE_NAME).read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert "<script" not in text
    rects = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if "class" in e.attrib]
    widths: dict[str, list[float]] = {}
    for rect in rects[1:]:  # the first is the background
        widths.setdefault(rect.attrib["class"], []).append(float(rect.attrib["width"]))
    first, second, key = widths["predicted"]
    assert first / second == pytest.approx(4_000 / 57_000, rel=1e-3)
    busy = widths["busy"][0]
    assert busy / first == pytest.approx((4_100 - 2_100) / 4_000, rel=1e-3)
    assert key == 12.0


def test_picture_before_the_simulation_is_the_prediction(tmp_path: Path) -> None:
    out = samples.folder(tmp_path / "out", with_simulation=False, with_csim=False)
    text = picture_text(load_summary(out), None)
    assert "61,000 cycles predicted; 80.0 % of the multipliers busy" in text
    assert "mismatches" not in text


def test_bar_is_proportional_to_cycles_and_causes() -> None:
    drawn = figure([row("a", 1000, 900, load=250), row("b", 500, 500)])
    first, second = drawn.bars
    unit = (first.segments[-1].x + first.segments[-1].width - LABEL) / 1000
    assert [s.title for s in first.segments] == [f"{BUSY}: 750 cycles", "load: 250 cycles"]
    assert first.segments[0].width == pytest.approx(750 * unit, abs=0.02)
    assert first.segments[1].x == pytest.approx(LABEL + 750 * unit, abs=0.02)
    assert first.mark == pytest.approx(LABEL + 900 * unit, abs=0.02)
    assert second.segments[0].width == pytest.approx(500 * unit, abs=0.02)
    assert [s.width for s in drawn.strip] == [666.67, 333.33]


def test_many_causes_are_gathered_and_nothing_is_lost() -> None:
    stalls = {f"cause{i}": 100 - i for i in range(12)}
    drawn = figure([row("a", 2000, 2000, **stalls)])
    assert len(drawn.legend) == 9  # computing, seven causes, the rest
    unit = (drawn.bars[0].mark or 0) - LABEL
    assert sum(s.width for s in drawn.bars[0].segments) == pytest.approx(unit, abs=0.1)


def test_stalls_beyond_the_cycles_stay_inside_the_picture() -> None:
    drawn = figure([row("a", 100, 100, load=90, vector=80)])
    last = drawn.bars[0].segments[-1]
    assert last.x + last.width <= drawn.width


def test_no_layers_and_empty_layers_are_drawn() -> None:
    assert figure([]).bars == ()
    assert figure([row("a", 0, 0)]).bars[0].segments == ()


def test_rows_follow_the_simulation_when_names_differ() -> None:
    summary = Summary.model_validate(samples.summary("other"))
    simulation = Simulation.model_validate(samples.simulation("conv2"))
    rows = layer_rows(summary, simulation)
    assert [(r.name, r.predicted, r.macs) for r in rows] == [
        ("conv1", 4_000, 442_368),
        ("conv2", 57_000, 0),
    ]


def test_unequal_bytes_are_marked() -> None:
    data = samples.simulation() | {"dram_write_bytes": 5_001}
    rows = comparisons(Summary.model_validate(samples.summary()), Simulation.model_validate(data))
    assert [item.equal for item in rows] == [False, False, True, False]


def test_infinite_and_missing_ratios_are_words() -> None:
    data = samples.csim()
    data["outputs"]["logits"]["snr_db_vs_torch"] = math.inf
    rows = output_rows(None, Csim.model_validate(data))
    assert (rows[0].evaluate, rows[0].onnxruntime, rows[0].snr_torch) == ("0", "-", "equal")


def test_ratio_left_out_because_the_outputs_are_equal() -> None:
    rows = output_rows(Simulation.model_validate(samples.simulation()), None)
    assert (rows[0].onnxruntime, rows[0].snr_onnxruntime) == ("0", "equal")


def test_missing_key_is_named(tmp_path: Path) -> None:
    out = samples.folder(tmp_path)
    data = samples.summary()
    del data["predicted"]["cycles"]
    (out / "report" / "summary.json").write_text(json.dumps(data))
    with pytest.raises(DataflowError) as caught:
        write_report(out)
    assert str(caught.value) == (
        f"{out}/report/summary.json: predicted.cycles: field required; run dataflow compile again"
    )


def test_damaged_result_is_named(tmp_path: Path) -> None:
    out = samples.folder(tmp_path)
    (out / "report" / "simulation.json").write_text("{")
    with pytest.raises(DataflowError) as caught:
        write_report(out)
    assert str(caught.value) == (
        f"{out}/report/simulation.json: cannot be read as JSON; run dataflow simulate again"
    )
