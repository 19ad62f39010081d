# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module k3d_cluster against a stand-in for k3d and Docker or, where CELERYOPS_K3D names one, against k3d itself.

The stand-in is in tests/standins/k3d; what it takes and refuses is written there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.k3d import IMAGE, NEWER, Result, four_times, k3d_cluster, standin_state
from helpers.servers import free_port


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return standin_state(tmp_path, monkeypatch)


@pytest.fixture
def cluster(state: Path) -> Iterator[Callable[..., Result]]:
    with k3d_cluster() as run:
        yield run


def names(result: Result, role: str) -> list[str]:
    return [node["name"] for node in result["nodes"] if node["role"] == role]


@pytest.mark.slow
def test_a_cluster_is_made_grows_and_goes(cluster: Callable[..., Result]) -> None:
    declared: dict[str, Any] = {"image": IMAGE, "servers": 1, "agents": 1, "api_port": free_port()}
    declared["k3s_args"] = [{"arg": "--disable=traefik"}]
    made = four_times(cluster, **declared)
    assert [action.split()[:2] for action in made["actions"]] == [["create", "cluster"]]

    grown = four_times(cluster, **declared | {"agents": 3})
    assert [action.split()[:2] for action in grown["actions"]] == [["add", "agent"]] * 2
    port = {"port": f"127.0.0.1:{free_port()}:80"}
    published = four_times(cluster, **declared | {"agents": 3, "ports": [port]})
    assert [action.split()[:2] for action in published["actions"]] == [["add", "port"]]
    assert len(names(published, "agent")) == 3

    gone = four_times(cluster, state="absent")
    assert [action.split()[:2] for action in gone["actions"]] == [["delete", "cluster"]]


def test_what_cannot_be_changed_is_reported_and_made_anew_when_asked(cluster: Callable[..., Result]) -> None:
    before: dict[str, Any] = {"image": IMAGE, "agents": 1, "k3s_args": [{"arg": "--disable=traefik"}]}
    cluster(**before)
    after = {"image": NEWER, "agents": 0, "servers": 2, "k3s_args": [{"arg": "--disable=servicelb"}]}
    for check in (True, False):
        refused = cluster(check=check, **after)
        assert refused["failed"]
        assert not refused["changed"]
        found = {one["setting"]: (one["current"], one["wanted"]) for one in refused["drift"]}
        assert found["image"] == (IMAGE, NEWER)
        assert found["args"] == ("--disable=traefik@server:*", "--disable=servicelb@server:*")
        assert found["agents"][0].startswith("1 (k3d-")
        assert "no other can join" in found["servers"][0]
        assert "k3d_recreate" in refused["error"]["remedy"]
    assert not cluster(**before)["changed"]
    anew = four_times(lambda check, **options: cluster(check=check, **options), **after, recreate=True)
    assert [action.split()[0] for action in anew["actions"]] == ["delete", "create"]


def test_a_server_joins_the_etcd_of_others(cluster: Callable[..., Result]) -> None:
    cluster(image=IMAGE, servers=2)
    assert four_times(cluster, image=IMAGE, servers=3)["actions"][0].startswith("add server ")


def test_settings_reach_k3s_as_they_were_written(cluster: Callable[..., Result], state: Path) -> None:
    """k3d expands what looks like an environment variable, and keeps a copy of its configuration."""
    cluster(image=IMAGE, k3s_args=[{"arg": "--kubelet-arg=feature=$HOME"}], volumes=[{"volume": "/srv:/srv"}])
    assert not cluster(
        image=IMAGE, k3s_args=[{"arg": "--kubelet-arg=feature=$HOME"}], volumes=[{"volume": "/srv:/srv"}]
    )["changed"]
    assert not list((state.parent / "tmp").glob("*k3d*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k3d": "/nowhere/k3d"}, "k3d is not installed"),
        ({"servers": 0}, "0 servers"),
        ({"ports": [{"port": "eighty"}]}, "'eighty' is no port"),
        ({"k3s_args": [{"arg": "--x", "node_filters": ["worker:*"]}]}, "node filter 'worker:*'"),
        ({"volumes": [{"volume": "/a:/a", "node_filters": ["all"]}]}, "node filter 'all'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_done(
    cluster: Callable[..., Result], options: dict[str, Any], said: str
) -> None:
    for check in (True, False):
        refused = cluster(check=check, **options)
        assert refused["failed"]
        assert said in refused["msg"]
        assert refused["actions"] == []


def test_what_k3d_refuses_is_said_in_its_words(cluster: Callable[..., Result]) -> None:
    refused = cluster(image=IMAGE, k3s_args=[{"arg": "--x", "node_filters": ["agent:5"]}], agents=1)
    assert refused["failed"]
    assert "Index out of range" in refused["error"]["found"]
    assert not names(cluster(state="absent", check=True), "server")
