# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of Redis, PostgreSQL and nodes on the platform itself, by the playbook, with its reports.

The platform is afterwards as it was before. The project's own figures are 20 of each kind: DRILL_ENGINES=20. With
DRILL_REPORTS the pages and their JSON stay in that folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import ROOT

from ansible_collections.celeryops.platform.plugins.module_utils._drill.hands import NAMESPACE as HANDS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

Json = dict[str, Any]
NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
TIMES = int(os.environ.get("DRILL_ENGINES", "2"))
CLIENTS = "app.kubernetes.io/name=celeryops-drill"
REDIS = ("redis_master_process", "redis_master_pod", "redis_sentinel_pod", "redis_proxy_pod")
POSTGRESQL = (
    "postgresql_primary_process",
    "postgresql_primary_pod",
    "postgresql_primary_eviction",
    "postgresql_pooler_pod",
)


def declared(cluster: Api) -> Json:
    """What the platform is by its declarations, and which nodes take pods."""
    found: Json = {node["metadata"]["name"]: node["spec"].get("unschedulable") for node in cluster.list("v1", "Node")}
    for kind in ("Deployment", "StatefulSet"):
        for one in cluster.list("apps/v1", kind, NAMESPACE):
            found[f"{kind} {one['metadata']['name']}"] = one["spec"]
    return found


@pytest.fixture(autouse=True)
def undisturbed(cluster: Api) -> Iterator[None]:
    before = declared(cluster)
    yield
    assert declared(cluster) == before
    assert cluster.list("v1", "Pod", NAMESPACE, label_selector=CLIENTS) == []
    space = cluster.get(ObjectRef("v1", "Namespace", HANDS))
    assert space is None or space["metadata"].get("deletionTimestamp")


def play(folder: Path, kind: str, times: int = 1, *options: str, **variables: Any) -> tuple[Json, str]:
    """The drill as the report has it, and what the play printed."""
    path = Path(os.environ.get("DRILL_REPORTS") or folder, f"{kind}.html")
    given = {
        "ansible_python_interpreter": sys.executable,
        "platform_kubeconfig": os.environ["KUBECONFIG"],
        "platform_namespace": NAMESPACE,
        "drill_allowed": True,
        "drill_program": [{"drill": kind, "repetitions": times}],
        "drill_report_path": str(path),
        "drill_tasks": 24,
        "drill_longest": 15,
        **variables,
    }
    command = ["ansible-playbook", "--inventory=localhost,", "--connection=local", *options]
    done = subprocess.run(
        [*command, "-e", json.dumps(given), "playbooks/drill.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    said = done.stdout + done.stderr
    print(said[-6000:])
    assert done.returncode == 0, said[-6000:]
    if "--check" in options:
        return {}, said
    assert "<svg" in path.read_text(encoding="utf-8")
    (drill,) = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["drills"]
    assert (drill["drill"], drill["outcome"], drill["problems"]) == (kind, "passed", [])
    assert drill["sent"] >= 24 * len(drill["rounds"])
    assert f"{kind}  passed" in said
    return drill, said


def gaps(drill: Json, engine: str) -> list[float]:
    return [line["gap"]["p95"] for line in drill["writes"] if line["engine"] == engine and line["gap"]]


@pytest.mark.parametrize("kind", REDIS)
def test_redis(tmp_path: Path, kind: str) -> None:
    drill, _said = play(tmp_path, kind, TIMES)
    assert len(drill["rounds"]) == TIMES
    assert {one["kind"] for one in drill["rounds"]} <= {"in_place", "failover"}
    assert sum(line["rounds"] for line in drill["writes"]) == TIMES
    assert sum(line["reached_a_replica_steady"] for line in drill["writes"]) == 0
    assert all(gap <= 10 for gap in gaps(drill, "redis"))
    if kind.startswith("redis_master"):
        # A gap of its own for each, in the drawing as well
        assert len(drill["timeline"]["gaps"]) == TIMES
        assert all(one["victim"] == one["before"] for one in drill["rounds"])
    else:
        assert (drill["lost"], {one["kind"] for one in drill["rounds"]}) == (0, {"in_place"})
    # As the local platform's kubelets are told: what a kill costs is not their patience.
    assert drill["restart_backoff"] == (1.0 if kind == "redis_master_process" else None)


@pytest.mark.parametrize("kind", POSTGRESQL)
def test_postgresql(tmp_path: Path, kind: str) -> None:
    drill, _said = play(tmp_path, kind, TIMES)
    assert len(drill["rounds"]) == TIMES
    assert all(gap <= 20 for gap in gaps(drill, "postgresql"))
    assert (drill["lost"], drill["run_twice"]) == (0, 0)
    if kind == "postgresql_primary_eviction":
        assert {one["kind"] for one in drill["rounds"]} == {"failover"}


def test_every_node_is_drained(tmp_path: Path, cluster: Api) -> None:
    drill, _said = play(tmp_path, "node_drain", drill_timeout=600)
    nodes = sorted(node["metadata"]["name"] for node in cluster.list("v1", "Node"))
    assert [one["node"] for one in drill["rounds"]] == nodes
    assert all(one["evicted"] > 0 for one in drill["rounds"])
    assert drill["lost"] == 0


def test_a_node_is_lost(tmp_path: Path) -> None:
    drill, _said = play(tmp_path, "node_loss", drill_timeout=600)
    assert len(drill["rounds"]) >= 2
    assert all(89 <= one["seconds"] <= 100 and one["devices"] for one in drill["rounds"])
    assert {line["engine"] for line in drill["writes"]} == {"redis", "postgresql"}
    assert all(gap <= 60 for engine in ("redis", "postgresql") for gap in gaps(drill, engine))


@pytest.mark.parametrize("kind", [REDIS[0], POSTGRESQL[0], "node_drain", "node_loss"])
def test_only_looked_at_in_check_mode(tmp_path: Path, kind: str) -> None:
    _none, said = play(tmp_path, kind, 1, "--check")
    assert f"{kind}  not held" in said
    assert not list(tmp_path.iterdir())
