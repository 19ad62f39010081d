# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What speaks against a run, from the declarations and the findings of hosts."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.config import findings
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.plan import Host, Plan, plan

VERSION = "v1.33.4+k3s1"
FRESH: dict[str, Any] = {
    "manager": "systemd",
    "architecture": "amd64",
    "installed_as": [],
    "version": "",
    "initialised": False,
    "joins": False,
    "datastore": "",
    "ca": "",
    "token": "unknown",
    "health": {"version": ""},
}
MEMBER = {**FRESH, "version": VERSION, "ca": "a" * 64, "installed_as": ["server"], "initialised": True}


def host(name: str, role: str = "server", found: dict[str, Any] = FRESH, **options: Any) -> Host:
    return Host(name=name, role=role, node=options.pop("node", name), found={**FRESH, **found}, **options)


def servers(number: int, **options: Any) -> list[Host]:
    return [host(f"s{index}", **options) for index in range(1, number + 1)]


def made(hosts: list[Host], version: str = VERSION, nodes: dict[str, str] | None = None, **options: Any) -> Plan:
    etcd = options.pop("etcd", sum(one.role == "server" for one in hosts) > 1)
    return plan(hosts, version=version, etcd=etcd, nodes=nodes or {}, **options)


def test_a_fresh_cluster_begins_with_the_first_server() -> None:
    made_plan = made([*servers(3), host("a1", "agent")])
    assert (made_plan.first, made_plan.problems) == ("s1", [])
    assert made_plan.running == {"s1": "", "s2": "", "s3": "", "a1": ""}


ETCD = {**MEMBER, "datastore": "etcd", "health": {"version": VERSION}}
JOINED = {**ETCD, "joins": True}


def test_a_new_first_server_joins_the_members() -> None:
    """Otherwise a second cluster would begin on it."""
    result = made([host("new"), host("s2", found=JOINED), host("s3", found=JOINED)])
    assert (result.first, result.early, result.problems) == ("s2", ["new"], [])


def test_the_first_server_stays_the_same_after_another_was_replaced() -> None:
    """Else the next run would turn the configuration of two servers round, and restart them."""
    hosts = [host("s1", found=JOINED), host("s2", found=ETCD), host("s3", found=JOINED)]
    assert (made(hosts).first, made(hosts).early) == ("s2", [])


def test_a_new_server_waits_for_members_that_have_to_change_first() -> None:
    """A single server's SQLite is converted, and an older version is upgraded, before others join."""
    alone = {**ETCD, "datastore": "sqlite"}
    assert made([host("s1", found=alone), host("s2"), host("s3")]).early == []
    older = {**ETCD, "health": {"version": "v1.32.9+k3s1"}}
    assert made([host("s1", found=older), host("s2", found=older), host("s3")]).early == []


@pytest.mark.parametrize(
    ("hosts", "options", "message"),
    [
        ([host("a1", "agent")], {}, "There is no server"),
        (servers(2), {}, "An even number of servers"),
        (servers(4), {}, "An even number of servers"),
        (servers(3), {"etcd": False}, "no datastore in common"),
        ([host("s1", node="same"), host("a1", "agent", node="same")], {}, "2 hosts would be the same node"),
        ([host("s1", found={"manager": ""})], {}, "no init system"),
        ([host("s1", found={"architecture": "s390x"})], {}, "a processor that the role does not know"),
        ([host("s1", found={"installed_as": ["agent"]})], {}, "s1 is set up as something else"),
        ([host("s1", found={**MEMBER, "token": "differs"})], {}, "k3s_token is not the token of the cluster"),
        (
            [host("s1", found=MEMBER), host("a1", "agent", {"ca": "b" * 64})],
            {},
            "a1 belongs to another cluster than s1",
        ),
        ([host("s1"), host("a1", "agent", {"ca": "b" * 64})], {}, "a1 belongs to a cluster, and s1"),
        ([host("s1", configs={"k3s_server_config": ["tls-sna"]})], {}, "did you mean tls-san?"),
        ([host("s1")], {"version": "v1.33"}, "This is no version"),
        ([host("s1", found={**MEMBER, "health": {"version": "v1.31.2+k3s1"}})], {}, "more than one minor version"),
        ([host("s1", found=MEMBER)], {"version": "v1.33.3+k3s1"}, "runs a newer k3s"),
    ],
)
def test_what_speaks_against_it(hosts: list[Host], options: dict[str, Any], message: str) -> None:
    problems = made(hosts, **options).problems
    assert len(problems) == 1
    assert message in problems[0]
    assert message.startswith("did") or "remedy: " in problems[0]


def test_everything_is_said_at_once() -> None:
    hosts = [host("s1", configs={"k3s_server_config": ["bogus"]}, found={"manager": ""}), host("s2")]
    assert len(made(hosts, version="stable").problems) == 4


def test_one_server_or_an_external_datastore() -> None:
    assert made(servers(1), etcd=True).problems == []
    secret = {"configs": {"k3s_secret_config": ["datastore-endpoint"]}, "secret": frozenset(["k3s_secret_config"])}
    assert made(servers(2, **secret), etcd=False).problems == []


def test_what_runs_counts_and_not_the_file() -> None:
    """An upgrade that was interrupted has the new program on a host that still runs the old one."""
    new = "v1.34.1+k3s1"
    hosts = [
        host("s1", found={**MEMBER, "version": new, "health": {"version": VERSION}}),
        host("a1", "agent", {"version": new, "ca": "a" * 64, "installed_as": ["agent"]}),
        host("a2", "agent", {"version": new, "ca": "a" * 64, "installed_as": ["agent"]}),
    ]
    result = made(hosts, version=new, nodes={"a1": VERSION})
    assert result.running == {"s1": VERSION, "a1": VERSION, "a2": new}
    assert result.problems == []


def problems(*options: str, role: str = "server", secret: bool = False, known: frozenset[str] = frozenset()) -> Any:
    return findings("k3s_server_config", list(options), role, known, secret=secret)


def test_options_that_k3s_has() -> None:
    assert problems("tls-san+", "disable", "node-label", "kubelet-arg", "etcd-snapshot-retention") == []
    assert problems("node-label", "kubelet-arg", role="agent") == []
    assert problems("agent-token", secret=True) == []
    assert problems("brand-new", known=frozenset(["brand-new"])) == []


@pytest.mark.parametrize(
    ("option", "role", "said"),
    [
        ("server", "server", "decided by k3s_endpoint"),
        ("token", "agent", "decided by k3s_token"),
        ("token-file", "agent", "decided by k3s_token"),
        ("cluster-init", "server", "decided by k3s_etcd"),
        ("data-dir", "server", "/var/lib/rancher/k3s"),
        ("tls-san", "agent", "k3s agent has no option tls-san"),
        ("--disable", "server", "did you mean disable?"),
        ("zzz", "server", "k3s_known_options"),
        ("agent-token", "server", "use k3s_secret_config"),
        ("etcd-s3-secret-key", "server", "use k3s_secret_config"),
    ],
)
def test_options_that_are_refused(option: str, role: str, said: str) -> None:
    (problem,) = problems(option, role=role)
    assert said in problem
