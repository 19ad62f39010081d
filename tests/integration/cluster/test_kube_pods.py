# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in pods, pods of one command, and forwarded ports, on the full cluster."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import ExecResult, exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.podrun import run_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.portforward import forward

pytestmark = pytest.mark.cluster


def test_exec_returns_status_and_both_outputs(cluster: Api, place: str, sleeper: str) -> None:
    script = "echo out; echo err >&2; exit 5"
    found = exec_in_pod(cluster, place, sleeper, ["sh", "-c", script], container="c", timeout=30)
    assert found == ExecResult(5, "out\n", "err\n")


def test_exec_passes_input_and_its_end(cluster: Api, place: str, sleeper: str) -> None:
    # Longer than one message, with characters that need more than a byte; cat ends when its input does.
    text = "jewelry 珠宝\n" * 20000
    found = exec_in_pod(cluster, place, sleeper, ["cat"], stdin=text, timeout=60)
    assert (found.rc, found.stdout) == (0, text)


def test_exec_of_a_command_that_ignores_its_input(cluster: Api, place: str, sleeper: str) -> None:
    # More than a pipe holds, and the runtime goes on writing instead of telling the end; kubectl has it too.
    found = exec_in_pod(cluster, place, sleeper, ["sh", "-c", "exit 3"], stdin="x" * 60000, timeout=30)
    assert found.rc == 3


def test_exec_that_takes_too_long(cluster: Api, place: str, sleeper: str) -> None:
    with pytest.raises(KubeError, match="did not end") as caught:
        exec_in_pod(cluster, place, sleeper, ["sh", "-c", "echo so far; exec sleep 60"], timeout=1)
    assert "so far" in str(caught.value)


@pytest.mark.parametrize(
    ("pod", "container", "command", "told"),
    [
        ("sleeper", "c", "no-such-command", "executable file not found"),
        ("sleeper", "other", "true", "container other is not valid"),
        ("nobody", None, "true", 'pods "nobody" not found'),
    ],
)
def test_exec_that_cannot_start(
    cluster: Api, place: str, sleeper: str, pod: str, container: str | None, command: str, told: str
) -> None:
    with pytest.raises(KubeError, match=told):
        exec_in_pod(cluster, place, pod, [command], container=container, timeout=30)


def pods_of(cluster: Api, place: str) -> list[str]:
    return [
        one["metadata"]["name"]
        for one in cluster.list("v1", "Pod", place)
        if one["metadata"]["name"] != "sleeper" and not one["metadata"].get("deletionTimestamp")
    ]


@pytest.mark.parametrize(("script", "phase", "code"), [("echo hi", "Succeeded", 0), ("echo no; exit 3", "Failed", 3)])
def test_a_pod_of_one_command(
    cluster: Api, place: str, pod: Callable[..., Json], script: str, phase: str, code: int
) -> None:
    found = run_pod(cluster, pod("once", script), timeout=60)
    assert (found.phase, found.exit_code) == (phase, code)
    assert found.log == script.partition(" ")[2].partition(";")[0] + "\n"
    assert not pods_of(cluster, place)


@pytest.mark.slow
def test_pods_that_do_not_end_well_are_deleted_too(cluster: Api, place: str, pod: Callable[..., Json]) -> None:
    huge = {"limits": {"cpu": "1000"}, "requests": {"cpu": "1000"}}
    for manifest, timeout, told in (
        (pod("slow", "sleep 60"), 3, "did not end"),
        (pod("image", "true", image="localhost/celeryops/absent:1", imagePullPolicy="Never"), 60, "ErrImageNeverPull"),
        (pod("huge", "true", resources=huge), 60, "Insufficient cpu"),
        (pod("invalid", "true", imagePullPolicy="Sometimes"), 60, "imagePullPolicy"),
    ):
        with pytest.raises(KubeError, match=told):
            run_pod(cluster, manifest, timeout=timeout)
    assert not pods_of(cluster, place)


def test_forwarded_ports_carry_several_connections(cluster: Api) -> None:
    selector = "k8s-app=kube-dns"
    dns = cluster.list("v1", "Pod", "kube-system", label_selector=selector)[0]["metadata"]["name"]
    with forward(cluster, "kube-system", dns, 8080) as port:
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"OK"
            connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_on_which_nothing_listens(cluster: Api, place: str, sleeper: str) -> None:
    with forward(cluster, place, sleeper, 9) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(10)
        assert client.recv(1) == b""


def test_a_pod_that_is_not_there(cluster: Api, place: str) -> None:
    with pytest.raises(KubeError, match='pods "nobody" not found'), forward(cluster, place, "nobody", 80):
        pytest.fail("there is nothing to forward to")
