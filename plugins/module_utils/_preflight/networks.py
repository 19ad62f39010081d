# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether ranges of addresses are free on a machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from itertools import combinations

from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import Finding, Machine

__all__ = ["LABEL", "overlaps", "rewriting_rules"]

# What role local_nodes puts on everything it makes.
LABEL = "celeryops.platform"

_SOURCE = re.compile(r"(! )?-s (\S+)")
_OUT = re.compile(r"(! )?-o (\S+)")


def overlaps(machine: Machine, platform: str, subnets: Sequence[tuple[str, str]]) -> list[Finding]:
    """`subnets` are (variable, prefix). They may overlap neither each other nor what the machine has."""
    findings: list[Finding] = []
    parsed: list[tuple[str, ipaddress.IPv4Network]] = []
    for variable, text in subnets:
        try:
            parsed.append((variable, ipaddress.IPv4Network(text)))
        except ValueError as error:
            remedy = f"Correct {variable}."
            findings.append(Finding("subnet", f"an IPv4 prefix such as 10.42.0.0/16 in {variable}", str(error), remedy))
    for (first, one), (second, other) in combinations(parsed, 2):
        if one.overlaps(other):
            findings.append(
                Finding(
                    "subnet",
                    f"{first} and {second} apart from each other",
                    f"{one} and {other}",
                    f"Give {first} or {second} another range.",
                )
            )
    for variable, subnet in parsed:
        findings += _taken(machine, platform, variable, subnet)
    return findings


def _taken(machine: Machine, platform: str, variable: str, subnet: ipaddress.IPv4Network) -> list[Finding]:
    own = {network.device for network in machine.networks if network.labels.get(LABEL) == platform}
    uses = [
        f"podman network {network.name} ({prefix})"
        for network in machine.networks
        if network.labels.get(LABEL) != platform
        for prefix in network.subnets
        if _overlap(prefix, subnet)
    ]
    named = {network.device for network in machine.networks}
    uses += [
        f"route {route.destination} by {route.device}"
        for route in machine.routes
        if route.device not in own | named and _overlap(route.destination, subnet)
    ]
    if not uses:
        return []
    return [
        Finding(
            "subnet",
            f"{variable} ({subnet}) unused on this machine",
            ", ".join(uses),
            f"Remove what is left over (ip route, podman network rm), or set {variable} to a free range.",
        )
    ]


def rewriting_rules(machine: Machine, platform: str, pods: str) -> list[Finding]:
    """NAT rules that would rewrite packets between pods on different nodes.

    With bridge-nf-call-iptables the frames between nodes pass the machine's own iptables, where a masquerade rule
    that somebody left there for the same range breaks single pods.
    """
    if not machine.bridge_nf:
        return []
    try:
        subnet = ipaddress.IPv4Network(pods)
    except ValueError:
        return []
    own = {network.device for network in machine.networks if network.labels.get(LABEL) == platform}
    lines = [line for line in machine.nat_rules if _rewrites(line, subnet, own)]
    if not lines:
        return []
    return [
        Finding(
            "nat",
            f"no rule that rewrites the source of packets from {subnet}: bridge-nf-call-iptables is 1, so the "
            "machine's iptables sees what pods on different nodes send each other",
            "; ".join(lines),
            "Delete what is left over (iptables -t nat -D ...), or set kubeadm_pod_subnet to another range.",
        )
    ]


def _rewrites(line: str, subnet: ipaddress.IPv4Network, own: Iterable[str]) -> bool:
    if not line.startswith("-A ") or not re.search(r"-j (MASQUERADE|SNAT)\b", line):
        return False
    source = _SOURCE.search(line)
    # Without a source the rule is about something else (a mark, a port, an outgoing device) more often than not;
    # only one without any condition is about pods too.
    if source is None:
        return re.fullmatch(r"-A \S+ -j (MASQUERADE|SNAT).*", line) is not None
    if bool(source.group(1)) == _overlap(source.group(2), subnet):
        return False
    out = _OUT.search(line)
    # Between nodes packets leave by the platform's own bridge.
    return out is None or bool(out.group(1)) != (out.group(2) in own)


def _overlap(prefix: str, subnet: ipaddress.IPv4Network) -> bool:
    try:
        other = ipaddress.IPv4Network(prefix, strict=False)
    except ValueError:
        return False
    return other.prefixlen > 0 and other.overlaps(subnet)
