# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is to do with the hosts of a k3s cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
name: k3s_plan
short_description: Which server the others join, and everything that speaks against a run
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Compares the hosts of a k3s cluster, as M(celeryops.platform.k3s_info) found them, with the inventory.
options:
  _input:
    description:
      - Hosts in the order of the inventory, each with the keys C(name), C(role) (server or agent), C(node) (the name of
        its node), C(found) (the result of M(celeryops.platform.k3s_info)), C(configs) (variable to names of options)
        and C(secret) (those of these variables that only root reads).
    type: list
    elements: dict
    required: true
  version:
    description: The release that is wanted.
    type: str
    required: true
  etcd:
    description: Whether the servers have embedded etcd.
    type: bool
    required: true
  nodes:
    description: Nodes, as M(celeryops.platform.k3s_nodes_info) returns them.
    type: list
    elements: dict
    default: []
  known:
    description: Options of k3s beyond those that the collection knows.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: See that nothing speaks against it
  ansible.builtin.assert:
    that: (hosts | celeryops.platform.k3s_plan(version='v1.33.4+k3s1', etcd=true)).problems | length == 0
"""

RETURN = r"""
_value:
  description: A mapping with C(first) (the server that the others join), C(running) (host to the version that runs),
    C(early) (servers that join before any member is touched) and C(problems) (sentences).
  type: dict
"""

from dataclasses import asdict
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.plan import Host, plan


def k3s_plan(
    hosts: list[dict[str, Any]],
    version: str,
    etcd: bool,
    nodes: list[dict[str, Any]] | None = None,
    known: list[str] | None = None,
) -> dict[str, Any]:
    declared = [Host(**{**host, "secret": frozenset(host["secret"])}) for host in hosts]
    versions = {node["name"]: node["version"] for node in nodes or []}
    return asdict(plan(declared, version=str(version), etcd=bool(etcd), nodes=versions, known=frozenset(known or [])))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"k3s_plan": k3s_plan}
