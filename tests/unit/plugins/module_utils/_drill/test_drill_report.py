# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page about drills, as a browser reads it, and the files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._drill.report import page
from ansible_collections.celeryops.platform.plugins.module_utils._drill.results import passed, told
from ansible_collections.celeryops.platform.plugins.module_utils._drill.table import lines
from ansible_collections.celeryops.platform.plugins.module_utils._drill.write import write
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

Json = dict[str, Any]
RESULTS: list[Json] = yaml.safe_load((Path(__file__).parent / "data/results.yml").read_text(encoding="utf-8"))
ENGINES: list[Json] = yaml.safe_load((Path(__file__).parent / "data/engines.yml").read_text(encoding="utf-8"))
SVG = "{http://www.w3.org/2000/svg}"


class Reader(HTMLParser):
    """Every element with its attributes, and the text below each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def rows(self) -> Iterator[list[str]]:
        cells, wide = self.texts["td"], len(self.texts["th"])
        for number in range(0, len(cells), wide):
            yield cells[number : number + wide]


def drawings(text: str) -> list[ElementTree.Element]:
    """Each drawing on its own as XML, written by the function under test."""
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]  # noqa: S314


PAGE = page("jewelry-shop", told(RESULTS))


def test_the_page_is_whole_and_says_what_it_is() -> None:
    read = Reader(PAGE)
    assert read.open == []
    assert read.texts["title"][0] == "Drills of jewelry-shop: 1 of 4 kept their budget"
    assert read.texts["h1"] == ["Drills of jewelry-shop"]
    assert read.texts["h2"] == [
        "worker_kill: passed",
        "rolling_update: failed",
        "eviction: stopped",
        "drill 4: stopped",
    ]
    assert ("html", {"lang": "en"}) in read.elements
    assert "Begun 2025-11-27 21:46:40 UTC." in read.texts["figcaption"][0]
    assert "color-scheme: light dark" in read.texts["style"][0]
    assert read.texts["style"][0].count("prefers-color-scheme: dark") == 2


def test_nothing_is_fetched_and_nothing_is_run() -> None:
    read = Reader(PAGE)
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & {
        tag for tag, _attributes in read.elements
    }
    names = {name for _tag, attributes in read.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | {"src", "style"} & names
    assert {found["href"] for _tag, found in read.elements if "href" in found} == {f"#drill-{n}" for n in range(1, 5)}
    assert "url(" not in PAGE
    assert "@import" not in PAGE


def test_the_table_holds_each_drill_against_its_budget() -> None:
    assert list(Reader(PAGE).rows()) == [
        ["worker_kill", "passed", "1", "3", "3", "0 (0)", "0 (0)", "35 (60)"],
        ["rolling_update", "failed", "1", "60", "59", "1 (0)", "0 (0)", "- (60)"],
        ["eviction", "stopped", "0", "60", "12", "- (0)", "- (0)", "- (60)"],
        ["drill 4", "stopped", "0", "0", "0", "-", "-", "-"],
    ]
    assert re.findall(r'<td class="over">([^<]*)<', PAGE) == ["1 (0)"]


def test_a_timeline_has_its_curves_marks_legend_and_axes() -> None:
    kill, update, eviction = drawings(PAGE)
    assert [path.get("class") for path in kill.iter(f"{SVG}path")] == ["sent", "run", "waiting"]
    words = [text.text for text in kill.iter(f"{SVG}text")]
    assert words[:5] == ["sent", "run", "waiting", "kill", "recovery"]
    assert {"seconds since the first task was sent", "tasks", "0", "50"} <= set(words)
    hints = [hint.text for hint in kill.iter(f"{SVG}title")]
    assert hints == ["kill 1 at 5 s", "recovery 1 at 40 s"]
    marks = [line.get("x1") for line in kill.iter(f"{SVG}line") if line.find(f"{SVG}title") is not None]
    # 688 units for 50 seconds, from 56 on
    assert marks == ["124.8", "606.4"]
    (waiting,) = [path.get("d") for path in kill.iter(f"{SVG}path") if path.get("class") == "waiting"]
    assert waiting == "M56.0 56.0H69.8V272.0H124.8V128.0H606.4V272.0H744.0"
    # A mark of before the first task is drawn at its begin, and one after the last sample has its place.
    assert [hint.text for hint in update.iter(f"{SVG}title")] == ["rolling update 1 at 0 s", "recovery 1 at 61.5 s"]
    assert [hint.text for hint in eviction.iter(f"{SVG}title")] == ["eviction 1 at 2 s"]


def test_writes_have_a_table_of_their_own_and_gaps_a_place_in_the_drawing() -> None:
    text = page("jewelry-shop", told(ENGINES))
    cells = [re.findall(r"<td[^>]*>(?:<a [^>]*>)?([^<]*)<", row) for row in re.findall(r"<tr><td.*?</tr>", text)]
    assert cells == [
        ["redis_master_process", "passed", "2", "120", "119", "1", "4", "-"],
        ["node_loss", "failed", "1", "60", "60", "0 (0)", "0", "-"],
        ["redis_master_process", "redis", "failover", "1", "6.25", "6.25 (10)", "6.25", "650", "2", "1", "0 (0)"],
        ["redis_master_process", "redis", "in_place", "1", "2.5", "2.5 (10)", "2.5", "700", "0", "0", "0 (0)"],
        ["node_loss", "postgresql", "failover", "1", "72.5", "72.5 (60)", "72.5", "900", "0 (0)", "0", "0 (0)"],
        ["node_loss", "redis", "in_place", "1", "-", "- (60)", "-", "800", "0", "0", "0 (0)"],
    ]
    assert re.findall(r'<td class="over">([^<]*)<', text) == ["72.5 (60)"]
    assert Reader(text).texts["h2"][0] == "Writes through failures, gaps in seconds"
    assert text.count("Gaps hold the kubelets' wait before a restart: 1 s at most.") == 1
    master, loss = drawings(text)
    assert "no writes" in [words.text for words in master.iter(f"{SVG}text")]
    areas = [area for area in master.iter(f"{SVG}rect") if area.find(f"{SVG}title") is not None]
    # 688 units for 50 seconds, from 56 on
    assert [(area.get("x"), area.get("width")) for area in areas] == [("126.2", "34.4"), ("468.8", "85.3")]
    assert [hint.text for hint in loss.iter(f"{SVG}title")] == [
        "no write to postgresql in round 1: 2 to 74.5 s",
        "node loss 1 at 2 s",
    ]


def test_the_table_that_is_printed() -> None:
    printed = lines(told([*ENGINES, *RESULTS[2:3]]))
    rows = [re.split(r"  +", line) for line in printed]
    assert rows[:4] == [
        ["drill", "outcome", "rounds", "sent", "run", "lost", "run twice without a kill", "elsewhere"],
        ["redis_master_process", "passed", "2", "120", "119", "1", "4", "-"],
        ["node_loss", "failed", "1", "60", "60", "0 (of 0)", "0", "-"],
        ["eviction", "stopped", "0", "60", "12", "- (of 0)", "- (of 0)", "- (of 60)"],
    ]
    assert rows[5][:6] == ["drill", "kind", "rounds", "gap p50", "p95", "max"]
    assert rows[6][:6] == ["redis_master_process", "redis failover", "1", "6.25 s", "6.25 s (of 10)", "6.25 s"]
    assert rows[8] == [
        *("node_loss", "postgresql failover", "1", "72.5 s", "72.5 s (of 60)", "72.5 s"),
        *("900", "0 (of 0)", "0", "0 (of 0)"),
    ]
    assert printed[-4:] == [
        "Gaps hold the kubelets' wait before a restart: 1 s at most.",
        "",
        "node_loss: 95 % of the gaps of postgresql, failover, are within 72.5 s, 60 s allowed",
        f"eviction: {RESULTS[2]['msg']}",
    ]
    # Where nobody wrote there is no table of it.
    assert len(lines(told(RESULTS[:1]))) == 2


def test_marks_of_many_rounds_are_drawn_and_those_numbered_that_can_be_read() -> None:
    marks = [{"round": number, "what": "disturbance", "seconds": number * 0.5} for number in range(1, 101)]
    crowded = {**RESULTS[0], "timeline": {**RESULTS[0]["timeline"], "marks": marks}}
    (drawing,) = drawings(page("x", told([crowded])))
    assert len(list(drawing.iter(f"{SVG}title"))) == 100
    numbers = [text for text in drawing.iter(f"{SVG}text") if text.get("y") == "42"]
    # 6.9 units apart, where a number takes 14: every third one
    assert len(numbers) == 34


def test_what_others_wrote_is_text() -> None:
    assert "<script" not in PAGE
    assert "1 of 60 tasks lost, 0 allowed: <script>alert('a & b')</script>" in Reader(PAGE).texts["li"]
    hostile = '"><script>alert(1)</script>\x00&amp;'
    evil = {**RESULTS[1], "drill": hostile, "problems": [], "msg": hostile}
    text = page(hostile, told([evil]))
    assert "<script" not in text
    assert "\x00" not in text
    shown = hostile.replace("\x00", "?")
    assert Reader(text).texts["p"][1] == shown
    (drawing,) = drawings(text)
    assert drawing.get("aria-label") == f"{shown}: tasks sent, run and waiting over time"


def test_no_drill_at_all_and_drills_of_check_mode() -> None:
    assert passed(told([])) is False
    assert Reader(page("x", [])).texts["title"] == ["Drills of x: none was held"]
    looked = told([{"drill": "eviction", "passed": None, "changed": True}])
    assert (looked[0]["outcome"], passed(looked)) == ("not held", False)
    assert "No task was sent." in page("x", looked)


@pytest.mark.parametrize(
    "change",
    [
        {"sent": "many"},
        {"sent": -1},
        {"lost": True},
        {"seconds_elsewhere": float("nan")},
        {"budget": {"lost": None}},
        {"budget": ["lost"]},
        {"timeline": {"begin": 1.0}},
        {"timeline": {"begin": 1e300, "samples": [], "marks": []}},
        {"timeline": {"begin": None, "samples": [[1, 2, 3, 4]], "marks": []}},
        {"timeline": {"begin": None, "samples": [{"seconds": 1, "sent": 1, "run": 0}], "marks": []}},
        {"timeline": {"begin": None, "samples": [], "marks": [{"round": 1, "what": "<b>", "seconds": 1}]}},
        {"timeline": {**RESULTS[0]["timeline"], "gaps": [{"round": 1, "engine": "x", "seconds": 1, "until": 2}]}},
        {"timeline": {**RESULTS[0]["timeline"], "gaps": [{"round": 1, "engine": "redis", "seconds": 3, "until": 2}]}},
        {"writes": [{**ENGINES[0]["writes"][0], "kind": "<b>"}]},
        {"writes": [{**ENGINES[0]["writes"][0], "lost": -1}]},
        {"writes": [{**ENGINES[0]["writes"][0], "gap": {"p50": 1}}]},
        {"timeline": {**RESULTS[0]["timeline"], "samples": RESULTS[0]["timeline"]["samples"][::-1]}},
    ],
    ids=str,
)
def test_what_did_not_come_from_the_module_is_refused(change: Json) -> None:
    with pytest.raises(CeleryOpsError, match=r"drill 2 cannot be reported.*remedy"):
        told([RESULTS[0], {**RESULTS[1], **change}])


def test_both_files_are_written_once(tmp_path: Path) -> None:
    params = {"path": str(tmp_path / "drills.html"), "title": "jewelry-shop", "drills": RESULTS}

    def written(check: bool) -> Json:
        result: Json = {"changed": False}
        write(params, result, check_mode=check)
        return result

    looked = written(True)
    assert not list(tmp_path.iterdir())
    made = [looked, written(False), written(True), written(False)]
    assert [result["changed"] for result in made] == [True, True, False, False]
    assert {(result["passed"], result["json_path"]) for result in made} == {(False, str(tmp_path / "drills.json"))}
    assert (tmp_path / "drills.html").read_text(encoding="utf-8") == PAGE
    told_again = json.loads((tmp_path / "drills.json").read_text(encoding="utf-8"))
    assert (told_again["title"], told_again["passed"], len(told_again["drills"])) == ("jewelry-shop", False, 4)
    assert told_again["drills"][0]["timeline"]["marks"] == RESULTS[0]["timeline"]["marks"]
    assert "/secret/place" not in (tmp_path / "drills.json").read_text(encoding="utf-8")
    (tmp_path / "drills.json").unlink()
    assert written(False)["changed"] is True


@pytest.mark.parametrize(
    ("name", "says"), [("drills.json", "does not end in .html"), ("missing/drills.html", "cannot be written")]
)
@pytest.mark.parametrize("check", [True, False])
def test_a_path_that_cannot_be_written_to_is_told_in_check_mode_as_well(
    tmp_path: Path, name: str, says: str, check: bool
) -> None:
    result: Json = {"changed": False}
    with pytest.raises(CeleryOpsError, match=says):
        write({"path": str(tmp_path / name), "title": "x", "drills": []}, result, check_mode=check)
    assert result["changed"] is False
