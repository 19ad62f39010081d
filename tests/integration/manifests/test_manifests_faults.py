# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that restarts, refuses, resets or forgets who we are, and two runs at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.apiserver import ApiServer, running_api_server
from helpers.faults import Fault, Held, Proxy, Request, fault_proxy, through
from helpers.manifests import apply, config_map, live

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, connect

SHAPE = {"api_version", "kind", "namespace", "name", "action", "planned_on", "generation", "drift", "diff"}


def maps(namespace: str, count: int) -> list[Json]:
    return [config_map(namespace, f"c{number:03}", a="1") for number in range(count)]


# Faults that pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [Fault(429, retry_after=0), Fault(500), Fault(502), Fault(503), Fault(504), Fault(), Fault(acted=True)],
    ids=["429", "500", "502", "503", "504", "reset", "reset-after-acting"],
)
def test_what_passes_is_repeated(api: Api, namespace: str, proxy: Proxy, fault: Fault) -> None:
    failing = {("GET", 1), ("GET", 3), ("PATCH", 2), ("PATCH", 4), ("PATCH", 5)}
    proxy.rule = lambda request: fault if (request.method, request.number) in failing else None
    result = through(proxy, *maps(namespace, 5))
    assert not result.get("failed"), result["msg"]
    assert [one["action"] for one in result["objects"]] == ["created"] * 5
    # As many more requests as there were faults, and one look each at what may have been written already.
    patches = [one for one in proxy.requests if one.method == "PATCH"]
    assert len(patches) == 5 + 3
    assert len(api.list("v1", "ConfigMap", namespace)) == 5
    assert not through(proxy, *maps(namespace, 5))["changed"]


def test_an_expired_token_is_read_anew(namespace: str, proxy: Proxy, api_server: ApiServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("expired", encoding="ascii")
    config = json.loads(proxy.kubeconfig.read_text(encoding="ascii"))
    config["users"][0]["user"] = {"tokenFile": str(token)}
    proxy.kubeconfig.write_text(json.dumps(config), encoding="ascii")

    def rule(request: Request) -> Fault | None:
        if request.method == "GET" and request.number == 1:
            token.write_text(api_server.token, encoding="ascii")
        return None

    proxy.rule = rule
    assert through(proxy, *maps(namespace, 3))["changed"]


# Faults that stay


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(), "no answer from the API server"),
        (Fault(503), "injected"),
        (Fault(429, retry_after=0), "injected"),
        (Fault(headers={"Authorization": "Bearer expired"}), "Unauthorized"),
    ],
    ids=["reset", "503", "429", "401"],
)
def test_the_error_says_what_has_been_applied(namespace: str, proxy: Proxy, fault: Fault, said: str) -> None:
    proxy.rule = lambda request: fault if request.method == "PATCH" and request.number > 2 else None
    result = through(proxy, *maps(namespace, 5), retry_timeout=0.5)
    assert result["failed"]
    assert said in result["msg"]
    assert "remedy: " in result["msg"]
    named = f"created ConfigMap {namespace}/c000, created ConfigMap {namespace}/c001"
    assert f"(before that, 2 of 5 objects were dealt with: {named})" in result["msg"]
    assert result["error"]["done"] == named.split(", ")
    assert [one["action"] for one in result["objects"]] == ["created"] * 2 + ["failed"] + ["pending"] * 2
    assert all(set(one) == SHAPE for one in result["objects"])
    assert result["changed"]
    assert len(result["diff"]) == 2
    # The next run goes on from there.
    proxy.rule = lambda request: None
    again = through(proxy, *maps(namespace, 5))
    assert [one["action"] for one in again["objects"]] == ["unchanged"] * 2 + ["created"] * 3


# A server that is killed


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ApiServer]:
    """A server that nobody else uses."""
    (tmp_path / "server").mkdir()
    with running_api_server(tmp_path / "server") as server:
        yield server


def test_a_server_that_is_killed_in_the_middle_of_an_apply(own_server: ApiServer, tmp_path: Path) -> None:
    api = connect({"kubeconfig": str(own_server.kubeconfig), "retry_timeout": 30})
    objects = maps("default", 20)
    with fault_proxy(own_server, tmp_path) as proxy:

        def restart(request: Request) -> Fault | None:
            if request.method == "PATCH" and request.number == 10:
                own_server.stop(kill=True)
                own_server.start()
                return Fault()
            return None

        proxy.rule = restart
        result = through(proxy, *objects)
        assert not result.get("failed"), result["msg"]
        assert [one["action"] for one in result["objects"]] == ["created"] * 20
        assert {one["metadata"]["name"] for one in api.list("v1", "ConfigMap", "default")} >= {
            one["metadata"]["name"] for one in objects
        }

        def kill(request: Request) -> Fault | None:
            if request.method == "PATCH" and request.number == 40:
                own_server.stop(kill=True)
            return None

        proxy.rule = kill
        changed = [config_map("default", one["metadata"]["name"], a="2") for one in objects]
        result = through(proxy, *changed, retry_timeout=1)
        assert "no answer from the API server" in result["msg"]
        done = sum(one["action"] == "configured" for one in result["objects"])
        assert 0 < done < 20
        assert f"before that, {done} of 20 objects were dealt with" in result["msg"]
        assert f"and {done - 10} more" in result["msg"]
        own_server.start()
        proxy.rule = lambda request: None
        result = through(proxy, *changed)
        assert sum(one["action"] == "unchanged" for one in result["objects"]) == done
        assert not through(proxy, *changed)["changed"]


# Two runs at once


@pytest.mark.parametrize("exists", [False, True], ids=["new", "there"])
def test_another_run_of_the_same_name_is_not_undone(
    api: Api, namespace: str, proxy: Proxy, kube_module: Any, exists: bool
) -> None:
    if exists:
        apply(kube_module, config_map(namespace, a="0"))
    run = Held(proxy, config_map(namespace, a="1"))
    theirs = config_map(namespace, a="2", b="2")
    assert apply(kube_module, theirs)["changed"]
    result = run.result()
    assert result["failed"]
    assert "was changed meanwhile by another run under the name celeryops" in result["msg"]
    assert live(api, theirs)["data"] == {"a": "2", "b": "2"}


@pytest.mark.parametrize("exists", [False, True], ids=["new", "there"])
def test_another_run_of_the_same_definitions_is_no_trouble(
    api: Api, namespace: str, proxy: Proxy, kube_module: Any, exists: bool
) -> None:
    if exists:
        apply(kube_module, config_map(namespace, a="0"))
    wanted = config_map(namespace, a="1")
    run = Held(proxy, wanted)
    assert apply(kube_module, wanted)["changed"]
    assert not run.result().get("failed")
    assert not apply(kube_module, wanted)["changed"]


@pytest.mark.parametrize("exists", [False, True], ids=["new", "there"])
def test_a_run_of_another_name_is_a_conflict(
    api: Api, namespace: str, proxy: Proxy, kube_module: Any, exists: bool
) -> None:
    if exists:
        apply(kube_module, config_map(namespace, c="0"))
    run = Held(proxy, config_map(namespace, a="1"))
    apply(kube_module, config_map(namespace, a="2"), field_manager="theirs")
    result = run.result()
    assert ".data.a belongs to theirs" in result["msg"]
    assert live(api, config_map(namespace))["data"]["a"] == "2"


def test_what_others_write_meanwhile_stays(api: Api, namespace: str, proxy: Proxy, kube_module: Any) -> None:
    apply(kube_module, config_map(namespace, a="0"))
    run = Held(proxy, config_map(namespace, a="1"))
    apply(kube_module, config_map(namespace, b="2"), field_manager="theirs")
    assert not run.result().get("failed")
    assert live(api, config_map(namespace))["data"] == {"a": "1", "b": "2"}


def test_what_is_deleted_meanwhile_is_made_anew(api: Api, namespace: str, proxy: Proxy, kube_module: Any) -> None:
    apply(kube_module, config_map(namespace, a="0"))
    run = Held(proxy, config_map(namespace, a="1"))
    apply(kube_module, config_map(namespace), state="absent")
    assert not run.result().get("failed")
    assert live(api, config_map(namespace))["data"] == {"a": "1"}


# Many


@pytest.mark.slow
def test_five_hundred_objects(namespace: str, proxy: Proxy) -> None:
    objects = [
        *maps(namespace, 450),
        *({**one, "kind": "Secret", "data": {"a": "YQ=="}} for one in maps(namespace, 50)),
    ]
    result = through(proxy, *objects)
    assert [one["action"] for one in result["objects"]] == ["created"] * 500

    def requests(*wanted: Json, **options: Any) -> int:
        proxy.requests.clear()
        assert not through(proxy, *wanted, **options).get("failed")
        return len(proxy.requests)

    pairs = 2
    assert requests(*objects) <= pairs + 4
    assert requests(*objects, check=True) <= pairs + 4
    for number, obj in enumerate(objects):
        if number % 10 == 0:
            obj["data"] = {"a": "Yg=="}
    assert requests(*objects) <= pairs + 4 + 50
    options = {"namespace": namespace, "apply_set": {"name": "all"}}
    through(proxy, *objects, **options)
    assert requests(*objects, **options) <= pairs + 4
