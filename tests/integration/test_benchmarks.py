# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""That the benchmark still runs and counts right; how fast anything is, is for `make bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.__main__ import main
from benchmarks.objects import KINDS

SIZE = 10


@pytest.mark.slow
def test_the_benchmark_counts_what_each_contender_asks_the_server(tmp_path: Path) -> None:
    # Whether a loaded machine reaches the times is not asked here.
    main(["--sizes", str(SIZE), "--repetitions", "1", "--only", "manifests", "bare PATCHes", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    requests = {(row["contender"], row["scenario"]): row["requests"] for row in report["rows"]}
    assert {what: requests["bare PATCHes", what] for what in ("new", "unchanged", "10 % changed")} == {
        "new": SIZE,
        "unchanged": SIZE,
        "10 % changed": SIZE,
    }
    assert requests["manifests", "unchanged"] <= len(KINDS) + 4
    assert requests["manifests", "new"] > SIZE


def test_the_benchmark_of_probes_runs_both_and_judges_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    main(["--probes", "--repetitions", "2", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "probes.json").read_text(encoding="utf-8"))
    ours, ping = report["rows"]
    assert [row["command"] for row in (ours, ping)] == ["probe.sh", "inspect ping -d"]
    assert {row["runs"] for row in (ours, ping)} == {2}
    assert (ours["cpu_ratio"], ours["wall_ratio"]) == (1.0, 1.0)
    assert [target["limit"] for target in report["targets"]] == [0.05]


@pytest.mark.slow
def test_the_benchmark_of_waking_runs_all_and_judges_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.waking.IDLE", 1.0)
    main(["--waking", "--repetitions", "2", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "waking.json").read_text(encoding="utf-8"))
    names = ["lease", "lease, no tracking", "stock"]
    assert [(row["workers"], row["contender"]) for row in report["rows"]] == [
        (n, name) for n in (1, 5) for name in names
    ]
    assert [row["wall_ratio"] for row in report["rows"] if row["contender"] == "stock"] == [1.0, 1.0]
    assert [target["limit"] for target in report["targets"]] == [10.0, 10.0]
