# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter to the Kubernetes API against a real server: requests, and servers that fail."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from helpers.apiserver import ApiServer

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import (
    Api,
    Json,
    KubeError,
    NoClusterError,
    ObjectRef,
    connect,
)
from ansible_collections.celeryops.platform.plugins.module_utils._kube.podrun import run_pod


def config_map(namespace: str, name: str = "c", **data: str) -> Json:
    metadata = {"name": name, "namespace": namespace, "labels": {"name": name}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def kubeconfig(server: ApiServer, path: Path, /, *, user: Json | None = None, **cluster: Any) -> dict[str, str]:
    """Connection options of another user, or of another view of the server."""
    config = json.loads(server.kubeconfig.read_text(encoding="ascii"))
    config["clusters"][0]["cluster"] |= cluster
    config["users"][0]["user"] = user or config["users"][0]["user"]
    path.write_text(json.dumps(config), encoding="ascii")
    return {"kubeconfig": str(path)}


# Objects


def test_objects_from_their_making_to_their_end(api: Api, namespace: str) -> None:
    ref = ObjectRef("v1", "ConfigMap", "c", namespace)
    assert api.get(ref) is None
    assert api.create(config_map(namespace, a="1"), dry_run=True)["data"] == {"a": "1"}
    assert api.get(ref) is None
    made = api.create(config_map(namespace, a="1"))
    with pytest.raises(KubeError) as caught:
        api.create(config_map(namespace, a="1"))
    assert (caught.value.conflict, caught.value.reason) == (True, "AlreadyExists")
    assert api.patch(ref, {"data": {"b": "2"}}, dry_run=True)["data"] == {"a": "1", "b": "2"}
    assert api.patch(ref, {"data": {"b": "3"}})["data"] == {"a": "1", "b": "3"}
    assert not api.delete(ref, uid="00000000-0000-0000-0000-000000000000")
    assert api.delete(ref, dry_run=True)
    assert api.delete(ref, uid=made["metadata"]["uid"])
    assert not api.delete(ref)


def test_lists_are_whole_objects(api: Api, namespace: str) -> None:
    for name in ("a", "b"):
        api.create(config_map(namespace, name))
    found = api.list("v1", "ConfigMap", namespace)
    assert [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in found] == [
        ("v1", "ConfigMap", "a"),
        ("v1", "ConfigMap", "b"),
    ]
    by_label = api.list("v1", "ConfigMap", namespace, label_selector="name=b")
    by_field = api.list("v1", "ConfigMap", namespace, field_selector="metadata.name=b")
    assert [one["metadata"]["name"] for one in by_label + by_field] == ["b", "b"]
    assert len([one for one in api.list("v1", "ConfigMap") if one["metadata"]["namespace"] == namespace]) == 2


def test_watches_tell_what_happens_until_their_time_is_up(api: Api, namespace: str) -> None:
    first = api.create(config_map(namespace, "a"))
    api.create(config_map(namespace, "b"))
    api.delete(ObjectRef("v1", "ConfigMap", "a", namespace))
    version = first["metadata"]["resourceVersion"]
    events = api.watch("v1", "ConfigMap", namespace, resource_version=version, timeout=1)
    assert [(kind, one["metadata"]["name"]) for kind, one in events] == [("ADDED", "b"), ("DELETED", "a")]


def test_kinds_and_namespaces_are_checked(api: Api) -> None:
    with pytest.raises(KubeError, match="does not know Gadget"):
        api.list("example.com/v1", "Gadget")
    with pytest.raises(KubeError, match="ConfigMap c names no namespace"):
        api.get(ObjectRef("v1", "ConfigMap", "c"))


# Credentials


def test_what_is_forbidden_is_said_in_the_servers_words(
    api: Api, api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = api.request("POST", path, body=request)["status"]["token"]
    nobody = connect(kubeconfig(api_server, tmp_path / "config", user={"token": token}))
    with pytest.raises(KubeError, match="cannot list resource") as caught:
        nobody.list("v1", "Secret", namespace)
    assert caught.value.status == 403
    assert caught.value.remedy is not None
    assert "grant" in caught.value.remedy


PLUGIN = """#!/bin/sh
# The first credentials are of yesterday, those after them are good.
if [ -e "{folder}/asked" ]; then token="{token}"; else token=expired; fi
touch "{folder}/asked"
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"'"$token"'"}}}}'
"""


def test_a_token_that_expired_is_renewed(api_server: ApiServer, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.format(folder=tmp_path, token=api_server.token), encoding="ascii")
    plugin.chmod(0o700)
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    }
    renewed = connect(kubeconfig(api_server, tmp_path / "config", user=user))
    assert renewed.get(ObjectRef("v1", "Namespace", "default")) is not None


def test_a_wrong_token_is_an_error_at_once(api_server: ApiServer, tmp_path: Path) -> None:
    wrong = connect(kubeconfig(api_server, tmp_path / "config", user={"token": "wrong"}))
    with pytest.raises(KubeError, match="Unauthorized") as caught:
        wrong.list("v1", "Namespace")
    assert caught.value.status == 401


@pytest.mark.parametrize("change", [{"kubeconfig": "/nonexistent/config"}, {"context": "other"}])
def test_without_its_kubeconfig_there_is_no_cluster(api_server: ApiServer, change: dict[str, str]) -> None:
    with pytest.raises(NoClusterError, match="bring the cluster up first"):
        connect({"kubeconfig": str(api_server.kubeconfig), **change})


# Servers that fail


def test_a_server_that_is_not_trusted_is_not_asked_again(api_server: ApiServer, tmp_path: Path) -> None:
    options = kubeconfig(api_server, tmp_path / "config")
    config = json.loads(Path(options["kubeconfig"]).read_text(encoding="ascii"))
    del config["clusters"][0]["cluster"]["certificate-authority"]
    Path(options["kubeconfig"]).write_text(json.dumps(config), encoding="ascii")
    # With a retry it would take an hour, and the test would end by its own time limit.
    with pytest.raises(KubeError, match="CERTIFICATE_VERIFY_FAILED"):
        connect({**options, "retry_timeout": 3600}).list("v1", "Namespace")


@contextmanager
def away(server: ApiServer) -> Iterator[None]:
    """The server is killed, and comes back while the body runs."""
    server.stop(kill=True)
    back = threading.Thread(target=server.start)
    back.start()
    try:
        yield
    finally:
        back.join()


@pytest.mark.slow
def test_requests_wait_for_a_server_that_restarts(api_server: ApiServer, namespace: str) -> None:
    patient = connect({"kubeconfig": str(api_server.kubeconfig), "retry_timeout": 60})
    assert patient.list("v1", "ConfigMap", namespace) == []
    with away(api_server):
        # The connection refused it, so even a creation can be repeated.
        patient.create(config_map(namespace, a="1"))
    with away(api_server):
        assert len(patient.list("v1", "ConfigMap", namespace)) == 1


class Door:
    """An address in front of a server. Each connection is passed on, cut, or left without a word, as asked."""

    def __init__(self, port: int, *turns: str) -> None:
        self.port = port
        self.turns = list(turns)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve(self) -> None:
        while self.turns:
            client, _address = self.listener.accept()
            turn = self.turns.pop(0)
            if turn == "cut":
                client.close()
                continue
            self.open.append(client)
            if turn == "pass":
                server = socket.create_connection(("127.0.0.1", self.port))
                self.open.append(server)
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pipe, args=(one, other), daemon=True).start()

    @staticmethod
    def _pipe(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)

    def close_all(self) -> None:
        for one in self.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.mark.parametrize("turn", ["cut", "silent"])
def test_a_creation_is_repeated_where_no_connection_came_about(
    api_server: ApiServer, namespace: str, tmp_path: Path, turn: str
) -> None:
    """As at a server that has only begun to listen. It was not told anything, so nothing can be done twice."""
    door = Door(urlsplit(connect({"kubeconfig": str(api_server.kubeconfig)}).host).port or 0, "pass", turn, "pass")
    options = kubeconfig(api_server, tmp_path / "config", server=door.url)
    patient = connect({**options, "request_timeout": 2, "retry_timeout": 60})
    assert patient.list("v1", "ConfigMap", namespace) == []
    door.close_all()
    patient.create(config_map(namespace))
    assert door.turns == []
    assert len(patient.list("v1", "ConfigMap", namespace)) == 1
    door.close_all()
    door.listener.close()


@pytest.mark.slow
def test_a_pod_is_watched_on_by_another_connection(api: Api, api_server: ApiServer, namespace: str) -> None:
    """Without a kubelet: what it would write down, the test writes."""
    patient = connect({"kubeconfig": str(api_server.kubeconfig), "retry_timeout": 60})
    spec = {
        "nodeName": "nobodys",
        "containers": [{"name": "c", "image": "none"}],
        "automountServiceAccountToken": False,
    }
    once = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "once", "namespace": namespace}, "spec": spec}
    said: list[str] = []

    def run() -> None:
        with pytest.raises(KubeError) as caught:
            run_pod(patient, once, timeout=120)
        said.append(str(caught.value))

    running = threading.Thread(target=run)
    running.start()
    (_event, pod), *_ = api.watch("v1", "Pod", namespace, timeout=3)
    with away(api_server):
        pass
    assert running.is_alive()
    ended = {"status": {"phase": "Failed", "reason": "DeadlineExceeded", "message": "as the kubelet would say"}}
    api.patch(ObjectRef.of(pod), ended, subresource="status")
    running.join()
    assert "as the kubelet would say" in said[0]


def test_a_set_that_meets_a_restart_is_completed(
    api: Api, api_server: ApiServer, namespace: str, kube_module: Any
) -> None:
    objects = [config_map(namespace, f"c{number:03}", a="x" * 1000) for number in range(300)]
    args = {"definitions": objects, "retry_timeout": 60}
    results: list[Json] = []
    run = threading.Thread(target=lambda: results.append(kube_module("manifests", args)))
    run.start()
    for _event, _one in api.watch("v1", "ConfigMap", namespace, timeout=60):
        break
    with away(api_server):
        run.join()
    assert not results[0].get("failed"), results[0].get("msg")
    assert len(api.list("v1", "ConfigMap", namespace)) == len(objects)
    assert not kube_module("manifests", args)["changed"]


@pytest.mark.slow
def test_a_set_that_meets_a_server_that_stays_away_tells_what_was_done(
    api: Api, api_server: ApiServer, namespace: str, kube_module: Any
) -> None:
    objects = [config_map(namespace, f"c{number:03}", a="x" * 1000) for number in range(300)]
    args = {"definitions": objects, "retry_timeout": 0.5}
    results: list[Json] = []
    run = threading.Thread(target=lambda: results.append(kube_module("manifests", args)))
    run.start()
    for _event, _one in api.watch("v1", "ConfigMap", namespace, timeout=60):
        break
    api_server.stop(kill=True)
    run.join()
    api_server.start()
    (result,) = results
    assert result["failed"]
    assert "no answer from the API server" in result["msg"]
    told = [entry["action"] for entry in result["objects"]]
    done = told.count("created")
    assert told == ["created"] * done + ["failed"] + ["pending"] * (len(objects) - done - 1)
    # The one that was under way may or may not have got through.
    assert len(api.list("v1", "ConfigMap", namespace)) - done in (0, 1)
    again = kube_module("manifests", {**args, "retry_timeout": 60})
    assert again["changed"]
    assert len(api.list("v1", "ConfigMap", namespace)) == len(objects)
