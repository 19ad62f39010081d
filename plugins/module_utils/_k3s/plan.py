# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is to do with the hosts of a cluster, and everything that speaks against it. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._k3s import config, versions
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.release import ARCHITECTURES

__all__ = ["Host", "Plan", "plan"]


@dataclass(frozen=True)
class Host:
    """A host of the inventory: what it is to be, how it was found, and what is declared for it.

    ``configs`` is the name of a variable to the options in it; those in ``secret`` are written for root only.
    """

    name: str
    role: str
    node: str
    found: Mapping[str, Any]
    configs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    secret: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """``first`` is the server that the others join; ``running`` host to version, empty where nothing runs.

    ``early`` are the servers that join before any member is touched.
    """

    first: str
    running: dict[str, str]
    early: list[str]
    problems: list[str]


def _problem(message: str, expected: str, found: str, remedy: str) -> str:
    return str(CeleryOpsError(message, expected=expected, found=found, remedy=remedy))


def _first(servers: Sequence[Host]) -> Host | None:
    """The server to join: one that is a member already, if there is one, so that no second cluster is begun.

    Of the members it is the one that joins no other by its own configuration, whatever its place in the inventory: it
    stays the same when the server that began the cluster was replaced, and k3s resets no server that joins another.
    """
    members = [host for host in servers if host.found["initialised"]]
    own = [host for host in members if not host.found["joins"]]
    return next(iter(own or members or servers), None)


def _early(servers: Sequence[Host], first: Host | None, running: Mapping[str, str], version: str) -> list[str]:
    """New servers of an etcd that runs, in the version that it runs: with them it bears the restart of a member."""
    if first is None or first.found["datastore"] != "etcd" or running[first.name] != version:
        return []
    return [host.name for host in servers if not host.found["initialised"]]


def _running(host: Host, nodes: Mapping[str, str]) -> str:
    """What really runs: by the API server, by the node's kubelet; the program only where neither can be asked."""
    found = host.found
    return str(found["health"]["version"] or nodes.get(host.node, "") or (found["version"] if found["ca"] else ""))


def _shape(servers: Sequence[Host], hosts: Sequence[Host], etcd: bool) -> list[str]:
    problems = []
    if not servers:
        problems.append(_problem("There is no server", "a host in the group of servers", "none", "add one"))
    if etcd and len(servers) % 2 == 0 and servers:
        problems.append(
            _problem(
                "An even number of servers bears no more failures than one server less",
                "1, 3 or 5 servers with embedded etcd",
                f"{len(servers)}: {', '.join(host.name for host in servers)}",
                "add a server or remove one, or make the last one an agent",
            )
        )
    if len(servers) > 1 and not etcd and not any(_has(host, "datastore-endpoint") for host in servers):
        problems.append(
            _problem(
                "Several servers have no datastore in common",
                "embedded etcd (k3s_etcd), or datastore-endpoint in k3s_secret_config",
                "neither",
                "leave k3s_etcd at its default",
            )
        )
    for node, number in Counter(host.node for host in hosts).items():
        if number > 1:
            problems.append(
                _problem(
                    f"{number} hosts would be the same node",
                    "a name of its own for each",
                    f"{node}: {', '.join(host.name for host in hosts if host.node == node)}",
                    "give the machines different host names, or set node-name for each",
                )
            )
    return problems


def _has(host: Host, key: str) -> bool:
    return any(key in options for options in host.configs.values())


def _host(host: Host) -> list[str]:
    found, problems = host.found, []
    if not found["manager"]:
        problems.append(
            _problem(
                f"{host.name} has no init system that the role knows",
                "systemd or OpenRC",
                "neither",
                "use another host",
            )
        )
    if found["architecture"] not in ARCHITECTURES:
        problems.append(
            _problem(
                f"{host.name} has a processor that the role does not know",
                " or ".join(ARCHITECTURES),
                found["architecture"],
                "use another host",
            )
        )
    other = [role for role in found["installed_as"] if role != host.role]
    if other:
        problems.append(
            _problem(
                f"{host.name} is set up as something else",
                f"a fresh host, or one that is {host.role}",
                f"it is {' and '.join(found['installed_as'])}",
                "remove it first with the playbook k3s_uninstall and --limit, or correct its group",
            )
        )
    return problems


def _secrets(hosts: Sequence[Host], first: Host) -> list[str]:
    """Whether all belong to one cluster, whose token is the given one: asked before anything is restarted."""
    problems = []
    for host in hosts:
        if host.found["token"] == "differs":  # noqa: S105
            problems.append(
                _problem(
                    f"k3s_token is not the token of the cluster that {host.name} is in",
                    "the token in /var/lib/rancher/k3s/server/token, or no k3s_token at all",
                    "another one",
                    "correct or remove k3s_token; a token is changed with 'k3s token rotate'",
                )
            )
        ours, theirs = first.found["ca"], host.found["ca"]
        if ours and theirs and ours != theirs:
            problems.append(
                _problem(
                    f"{host.name} belongs to another cluster than {first.name}",
                    f"the certificate authority {ours[:12]} of {first.name}",
                    theirs[:12],
                    "remove it from that cluster first, with the playbook k3s_uninstall and --limit",
                )
            )
        elif theirs and not ours:
            problems.append(
                _problem(
                    f"{host.name} belongs to a cluster, and {first.name}, which it is to join, to none",
                    f"a cluster on {first.name}, or none on {host.name}",
                    f"the certificate authority {theirs[:12]} on {host.name}",
                    "name the server of its cluster in the inventory, or remove it from there first",
                )
            )
    return problems


def plan(
    hosts: Sequence[Host], *, version: str, etcd: bool, nodes: Mapping[str, str], known: frozenset[str] = frozenset()
) -> Plan:
    """``hosts`` in the order of the inventory; ``nodes`` is node to kubelet's version, as the API server has it."""
    servers = [host for host in hosts if host.role == "server"]
    first = _first(servers)
    problems = _shape(servers, hosts, etcd)
    for host in hosts:
        problems += _host(host)
        for variable, options in host.configs.items():
            problems += [
                f"{finding} (for {host.name})"
                for finding in config.findings(variable, options, host.role, known, secret=variable in host.secret)
            ]
    if first is not None:
        problems += _secrets(hosts, first)
    running = {host.name: _running(host, nodes) for host in hosts}
    try:
        versions.check_upgrade(running, version)
    except CeleryOpsError as error:
        problems.append(str(error))
    early = _early(servers, first, running, version)
    return Plan(first.name if first is not None else "", running, early, list(dict.fromkeys(problems)))
