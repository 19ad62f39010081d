# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of preflight_info to findings: read what they need, then ask every rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._preflight import (
    capacity,
    cluster,
    facts,
    networks,
    registries,
    rules,
)
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import Finding, Machine

__all__ = ["findings"]


def findings(options: Mapping[str, Any]) -> list[Finding]:
    """Everything that is wrong, in the order of the options. Raises CeleryOpsError for options without sense."""
    machine = facts.gather(
        paths=[entry["path"] for entry in options["disk"]],
        sysctls=options["kernel"],
        ports=[entry["port"] for entry in options["ports"]],
    )
    if options["building"]:
        machine = replace(machine, registries=registries.silent(options["python"]))
    platform = options["platform"]
    found = rules.privileges(machine, password=options["become_password"]) if options["root"] else []
    found += rules.system(machine, options["systems"])
    wanted = [(entry["path"], capacity.memory(entry["free"]), entry["purpose"]) for entry in options["disk"]]
    found += rules.disk(machine, wanted)
    found += rules.kernel(machine, {name: int(value) for name, value in options["kernel"].items()})
    found += rules.names(machine, platform, options["containers"], options["networks"])
    found += rules.ports(machine, [(entry["port"], entry["purpose"]) for entry in options["ports"]])
    subnets = [(entry["variable"], entry["subnet"]) for entry in options["subnets"]]
    found += networks.overlaps(machine, platform, subnets)
    found += networks.rewriting_rules(machine, platform, options["pod_subnet"] or "")
    found += _room(machine, options)
    return found + rules.registries(machine, options["building"])


def _room(machine: Machine, options: Mapping[str, Any]) -> list[Finding]:
    """Memory of the machine, and room on its nodes or on those of a cluster that is there."""
    found: list[Finding] = []
    pods = []
    for workload in options["workloads"]:
        try:
            pods.append(capacity.pods_from(workload))
        except CeleryOpsError as error:
            expected = f"replicas of {workload['name']} as a number, and its requests as quantities"
            said = f"{error.message}: {error.found}"
            found.append(Finding("capacity", expected, said, "Correct its replicas or its resources."))
    if options["existing"]:
        try:
            api = connect(options)
        except CeleryOpsError as error:
            expected = error.expected or "a kubeconfig that can be used"
            remedy = error.remedy or "Correct platform_kubeconfig."
            return [*found, Finding("cluster", expected, error.found or error.message, remedy)]
        broken, nodes = cluster.inspect(api, options["namespace"], options["storage_class"])
        return found + broken + (capacity.room(nodes, pods) if nodes else [])
    needed = capacity.memory(options["memory"] or 0)
    if options["nodes"]:
        needed += sum(workload.most * workload.memory for workload in pods)
        # The nodes are containers: each one counts every core, and all share the memory, which is asked for as a whole.
        cores = 1000 * (machine.cpus or 0)
        found += capacity.room([capacity.Node(name, cores, machine.memory or 0) for name in options["nodes"]], pods)
    return found + rules.memory(machine, needed, "the nodes and what the pods request")
