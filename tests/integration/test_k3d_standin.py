# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module k3d_cluster in states that only the stand-in can be put in, and the stand-in's own strictness."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.k3d import IMAGE, NEWER, STANDINS, Result, four_times, k3d_cluster, standin_state


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return standin_state(tmp_path, monkeypatch)


@pytest.fixture
def cluster(state: Path) -> Iterator[Callable[..., Result]]:
    with k3d_cluster() as run:
        yield run


def test_a_stopped_cluster_is_started(cluster: Callable[..., Result], state: Path) -> None:
    registry = {"name": "images", "port": 5000}
    cluster(image=IMAGE, registry=registry)
    known = json.loads(state.read_text())
    for container in known["containers"].values():
        container["running"] = False
    state.write_text(json.dumps(known))
    started = four_times(cluster, image=IMAGE, registry=registry)
    assert [action.split()[:2] for action in started["actions"]] == [["start", "registry"], ["start", "cluster"]]


def test_a_cluster_made_by_other_means_is_left_alone(cluster: Callable[..., Result], state: Path) -> None:
    cluster(image=IMAGE)
    known = json.loads(state.read_text())
    for container in known["containers"].values():
        container["labels"].pop("celeryops.spec", None)
    state.write_text(json.dumps(known))
    refused = cluster(image=IMAGE)
    assert [one["setting"] for one in refused["drift"]] == ["declaration"]


def test_a_silent_docker_is_named(cluster: Callable[..., Result], state: Path) -> None:
    state.write_text(json.dumps({"docker": "down"}))
    refused = cluster(image=IMAGE)
    state.unlink()
    assert refused["msg"].startswith("Docker does not answer")
    assert "DOCKER_HOST" in refused["error"]["remedy"]
    assert refused["actions"] == []


def test_settings_are_what_k3s_is_started_with(cluster: Callable[..., Result], state: Path) -> None:
    arguments = [{"arg": "--kubelet-arg=feature=$HOME"}, {"arg": "--node-label=a=b", "node_filters": ["agent:0"]}]
    cluster(image=IMAGE, agents=2, k3s_args=arguments, volumes=[{"volume": "/srv:/srv", "node_filters": ["agent:1"]}])
    known = json.loads(state.read_text())["containers"]
    started = {name.split("-", 2)[2]: (one["command"], one["binds"]) for name, one in known.items()}
    assert started == {
        "serverlb": ([], []),
        "server-0": (["server", "--kubelet-arg=feature=$HOME"], []),
        "agent-0": (["agent", "--node-label=a=b"], []),
        "agent-1": (["agent"], ["/srv:/srv"]),
    }


def test_no_secret_of_the_cluster_is_shown(cluster: Callable[..., Result], state: Path) -> None:
    made = cluster(image=IMAGE)
    token = next(iter(json.loads(state.read_text())["containers"].values()))["labels"]["k3d.cluster.token"]
    for result in (made, cluster(image=IMAGE), cluster(image=NEWER)):
        assert token not in json.dumps(result)


@pytest.mark.parametrize(
    "words",
    [
        ["cluster", "create", "--config", "/dev/null", "--agents-memory-limit", "1g"],
        ["cluster", "list", "-o", "table"],
        ["node", "create", "x", "--volume", "/a:/a"],
        ["cluster", "start", "x", "--timeout", "300"],
    ],
)
def test_the_stand_in_refuses_what_k3d_does(state: Path, words: list[str]) -> None:
    assert subprocess.run([STANDINS / "k3d-standin", *words], capture_output=True, check=False).returncode != 0


def test_the_stand_in_refuses_unknown_keys(state: Path) -> None:
    config = state.with_name("cluster.yaml")
    config.write_text(json.dumps({"apiVersion": "k3d.io/v1alpha5", "kind": "Simple", "workers": 3}))
    refused = subprocess.run(
        [STANDINS / "k3d-standin", "cluster", "create", "--config", config], capture_output=True, text=True, check=False
    )
    assert "Additional property workers is not allowed" in refused.stderr
