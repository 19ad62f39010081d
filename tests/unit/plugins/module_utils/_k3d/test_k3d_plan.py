# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done about a k3d cluster that is not what was declared, and what its configuration file says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._k3d import config
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.model import (
    Declared,
    Node,
    Observed,
    Port,
    Registry,
    Scoped,
    observed,
    parse_port,
)
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.plan import (
    drift,
    plan_absent,
    plan_present,
    validate,
)

IMAGE = "docker.io/rancher/k3s:v1.34.1-k3s1"
DEV = Declared("dev", agents=1, image=IMAGE)


def running(declared: Declared, **changes: Any) -> Observed:
    """What is observed of a cluster that was just made from the declaration."""
    init = declared.servers > 1
    published = frozenset(port for one in declared.ports for port in parse_port(one.value))
    nodes = [
        Node(f"k3d-{declared.name}-serverlb", "loadbalancer", True, ports=published),
        *(Node(f"k3d-{declared.name}-server-{n}", "server", True, IMAGE, init=init) for n in range(declared.servers)),
        *(Node(f"k3d-{declared.name}-agent-{n}", "agent", True, IMAGE) for n in range(declared.agents)),
    ]
    registries = {declared.registry.name: True} if declared.registry else {}
    return replace(Observed(tuple(nodes), declared.spec, registries), **changes)


def steps(declared: Declared, found: Observed | None) -> list[str]:
    return [str(action) for action in plan_present(declared, found, recreate=False)]


def differences(declared: Declared, found: Observed) -> dict[str, tuple[str, str]]:
    return {one.setting: (one.current, one.wanted) for one in drift(declared, found)}


EVERYTHING = Declared(
    "dev",
    servers=3,
    agents=2,
    image=IMAGE,
    api_port=6550,
    ports=(Scoped("8080:80", ("loadbalancer",)), Scoped("127.0.0.1:9000-9001:90-91/udp", ("agent:*",))),
    volumes=(Scoped("/srv:/srv", ("server:*", "agent:*")),),
    args=(Scoped("--disable=traefik", ("server:*",)),),
    registry=Registry("images", "127.0.0.1", 5000),
    registries=("other:5001",),
)


@pytest.mark.parametrize("declared", [DEV, Declared("dev"), EVERYTHING])
def test_a_cluster_as_declared_needs_nothing(declared: Declared) -> None:
    assert steps(declared, None) == ["create cluster dev"]
    assert steps(declared, running(declared)) == []


def test_the_image_is_not_compared_where_it_is_k3ds_choice() -> None:
    assert steps(replace(DEV, image=""), running(DEV)) == []
    assert steps(replace(DEV, image="rancher/k3s:v1.34.1-k3s1"), running(DEV)) == []


def test_missing_agents_get_free_names() -> None:
    three = running(replace(DEV, agents=3))
    found = replace(three, nodes=tuple(node for node in three.nodes if not node.name.endswith("agent-1")))
    assert steps(replace(DEV, agents=4), found) == ["add agent dev-agent-1", "add agent dev-agent-3"]


def test_the_first_agent_is_given_its_arguments() -> None:
    argument = Scoped("--node-label=a=b", ("agent:*",))
    declared = Declared("dev", agents=1, args=(argument,))
    found = running(replace(declared, agents=0))
    assert [action.args for action in plan_present(declared, found, recreate=False)] == [("--node-label=a=b",)]
    more = plan_present(replace(declared, agents=2), running(declared), recreate=False)
    assert [action.args for action in more] == [()]


def test_an_agent_that_would_get_settings_of_another_is_not_added() -> None:
    only_agents = Declared("dev", agents=0, volumes=(Scoped("/a:/a", ("agent:*",)),))
    assert "/a:/a" in differences(replace(only_agents, agents=1), running(only_agents))["agents"][1]
    first_only = Declared("dev", agents=1, args=(Scoped("--x", ("agent:0",)),))
    assert "--x" in differences(replace(first_only, agents=2), running(first_only))["agents"][1]


def test_servers_are_added_to_an_etcd_only() -> None:
    assert steps(replace(DEV, servers=3), running(replace(DEV, servers=2))) == ["add server dev-server-2"]
    assert "no other can join" in differences(replace(DEV, servers=2), running(DEV))["servers"][0]


def test_nodes_are_never_taken_away() -> None:
    assert differences(DEV, running(replace(DEV, agents=2)))["agents"] == (
        "2 (k3d-dev-agent-0, k3d-dev-agent-1)",
        "1: remove nodes with 'k3d node delete NAME'",
    )


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"image": "rancher/k3s:v1.35.0-k3s1"}, "image"),
        ({"args": (Scoped("--disable=traefik", ("server:*",)),)}, "args"),
        ({"volumes": (Scoped("/a:/a", ("server:*",)),)}, "volumes"),
        ({"api_port": 6443}, "api"),
        ({"registries": ("other:5000",)}, "registries"),
        ({"registry": Registry("images", "127.0.0.1", 5000)}, "registry"),
    ],
)
def test_what_a_container_keeps_for_life_is_reported(change: dict[str, Any], setting: str) -> None:
    declared = replace(DEV, **change)
    assert setting in differences(declared, running(DEV))
    with pytest.raises(CeleryOpsError) as caught:
        plan_present(declared, running(DEV), recreate=False)
    assert next(one["setting"] for one in caught.value.details["drift"]) == setting
    anew = [str(action) for action in plan_present(declared, running(DEV), recreate=True)]
    assert anew == ["delete cluster dev", "create cluster dev"]


def test_ports_are_added_by_way_of_the_load_balancer() -> None:
    added = Scoped("8081:81", ("loadbalancer",))
    assert steps(replace(EVERYTHING, ports=(*EVERYTHING.ports, added)), running(EVERYTHING)) == [
        "add port 8081:81@loadbalancer"
    ]
    assert "ports" in differences(replace(EVERYTHING, ports=EVERYTHING.ports[:1]), running(EVERYTHING))
    direct = Scoped("8082:82", ("agent:0:direct",))
    assert "ports" in differences(replace(DEV, ports=(direct,)), running(DEV))


def test_a_port_that_docker_chose_is_the_declared_one() -> None:
    declared = replace(DEV, ports=(Scoped("80", ("loadbalancer",)),))
    found = running(DEV)
    chosen = replace(found.nodes[0], ports=frozenset({Port("", "49153", "80", "tcp")}))
    assert steps(declared, replace(found, nodes=(chosen, *found.nodes[1:]))) == []


def test_what_is_stopped_is_started() -> None:
    declared = replace(DEV, registry=Registry("images", "127.0.0.1", 5000))
    found = running(declared)
    stopped = replace(
        found, nodes=tuple(replace(node, running=False) for node in found.nodes), registries={"images": False}
    )
    assert steps(declared, stopped) == ["start registry images", "start cluster dev"]


def test_a_registry_that_is_gone_is_reported() -> None:
    declared = replace(DEV, registry=Registry("images", "127.0.0.1", 5000))
    assert differences(declared, running(declared, registries={}))["registry"] == ("gone", "images")


def test_a_cluster_of_unknown_making_is_reported() -> None:
    assert list(differences(DEV, running(DEV, spec=None))) == ["declaration"]


def test_absent() -> None:
    assert plan_absent("dev", None) == []
    assert [str(action) for action in plan_absent("dev", running(DEV))] == ["delete cluster dev"]


@pytest.mark.parametrize(
    "declared",
    [
        Declared("Dev"),
        Declared("d" * 33),
        Declared("dev", servers=0),
        Declared("dev", agents=-1),
        Declared("dev", ports=(Scoped("80:", ("loadbalancer",)),)),
        Declared("dev", ports=(Scoped("80-82:80", ("loadbalancer",)),)),
        Declared("dev", ports=(Scoped("70000:80", ("loadbalancer",)),)),
        Declared("dev", args=(Scoped("--x", ("server",)),)),
        Declared("dev", args=(Scoped("--x", ("all",)),)),
    ],
)
def test_what_k3d_would_refuse_is_refused(declared: Declared) -> None:
    with pytest.raises(CeleryOpsError):
        validate(declared)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [("", "", "80", "tcp")]),
        ("8080:80/udp", [("", "8080", "80", "udp")]),
        ("0.0.0.0:8080:80", [("", "8080", "80", "tcp")]),
        ("[::1]:8080:80", [("::1", "8080", "80", "tcp")]),
        ("127.0.0.1::80", [("127.0.0.1", "", "80", "tcp")]),
        ("8080-8081:80-81", [("", "8080", "80", "tcp"), ("", "8081", "81", "tcp")]),
    ],
)
def test_ports_are_read_as_docker_reads_them(text: str, ports: list[tuple[str, ...]]) -> None:
    assert [tuple(port) for port in parse_port(text)] == ports


@pytest.mark.parametrize(
    ("filters", "covered"),
    [
        (("agent:*",), {0, 1, 2, 3}),
        (("agents:1,3",), {1, 3}),
        (("agent:1-2",), {1, 2}),
        (("agent:2-",), {2, 3}),
        (("server:*", "agent:0"), {0}),
        (("loadbalancer",), set()),
    ],
)
def test_node_filters_are_read_as_k3d_reads_them(filters: tuple[str, ...], covered: set[int]) -> None:
    assert {number for number in range(4) if Scoped("x", filters).covers("agent", number)} == covered


def test_the_configuration_holds_what_was_declared() -> None:
    found = config.document(EVERYTHING, 300)
    assert (found["servers"], found["agents"], found["image"]) == (3, 2, IMAGE)
    assert found["kubeAPI"] == {"hostIP": "127.0.0.1", "hostPort": "6550"}
    assert found["ports"][0] == {"port": "8080:80", "nodeFilters": ["loadbalancer"]}
    assert found["options"]["k3s"]["extraArgs"] == [{"arg": "--disable=traefik", "nodeFilters": ["server:*"]}]
    assert found["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": False}
    assert found["registries"] == {
        "use": ["other:5001"],
        "create": {"name": "images", "host": "127.0.0.1", "hostPort": "5000"},
    }
    label = found["options"]["runtime"]["labels"][0]
    assert json.loads(label["label"].partition("=")[2]) == EVERYTHING.spec


def test_the_configuration_has_nothing_that_k3d_would_expand() -> None:
    text = config.text(Declared("dev", args=(Scoped("--x=$HOME", ("server:*",)),)), 300)
    assert "$" not in text
    assert json.loads(text)["options"]["k3s"]["extraArgs"][0]["arg"] == "--x=$HOME"


def test_k3ds_listing_is_read() -> None:
    """An entry as `k3d cluster list -o json` of 5.9 prints it, and `docker inspect` beside it."""
    server = {
        "name": "k3d-dev-server-0",
        "role": "server",
        "image": "sha256:927f8fba6818",
        "env": ["K3S_TOKEN=secret"],
        "Cmd": ["server", "--tls-san", "k3d-dev-serverlb"],
        "runtimeLabels": {"k3d.cluster": "dev", "k3d.cluster.token": "secret"},
        "State": {"Running": True, "Status": "running", "Started": ""},
    }
    balancer = {
        **server,
        "name": "k3d-dev-serverlb",
        "role": "loadbalancer",
        "portMappings": {
            "6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6550"}],
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
        },
    }
    labels = {"celeryops.spec": json.dumps(DEV.spec), "k3d.cluster": "dev"}
    containers = {"k3d-dev-server-0": {"Name": "/k3d-dev-server-0", "Config": {"Image": IMAGE, "Labels": labels}}}
    registries = [{"name": "images", "role": "registry", "State": {"Running": False}}]
    found = observed("dev", [{"name": "dev", "nodes": [balancer, server]}], containers, registries)
    assert found == Observed(
        (
            Node("k3d-dev-server-0", "server", True, IMAGE),
            Node("k3d-dev-serverlb", "loadbalancer", True, ports=frozenset({Port("", "8080", "80", "tcp")})),
        ),
        DEV.spec,
        {"images": False},
    )
    assert "secret" not in repr(found)
    assert observed("other", [{"name": "dev", "nodes": [server]}], {}, []) is None
