# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks about a workload's pods before the workload is applied; later the server would refuse them in silence."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from .admission import sample_pod
from .client import Api, KubeError
from .items import Item
from .order import pod_template
from .quantity import format_quantity
from .quota import Usage, applies, claim_usage, crowd, is_counted, left, pod_usage, total, with_defaults
from .resources import Json

__all__ = ["Tryout"]

_POLL_SECONDS = 0.1
# How long the server takes at most until a new namespace has its service account.
_SETTLING_SECONDS = 15.0
# Kinds that decide what pods may be made: while one of them is only planned, the server's answer would be of the past.
_POLICY = frozenset(("Namespace", "LimitRange", "ResourceQuota", "ServiceAccount", "PriorityClass"))
_NONE = Decimal(0)


class Tryout:
    """The pods of one set's workloads."""

    def __init__(self, api: Api, items: Sequence[Item], *, check: bool) -> None:
        self._api = api
        self._items = items
        self._check = check
        # By namespace: the quotas, and what each has left after the workloads that were asked about.
        self._quotas: dict[str, list[tuple[Json, Usage]]] = {}

    def ask(self, item: Item) -> None:
        """Raises KubeError when pods of the workload as it will be would be refused."""
        if item.after is None or self._awaits_policy(item):
            return
        pod = sample_pod(item.after)
        if pod is None:
            return
        same_pods = item.live is not None and pod_template(item.live) == pod_template(item.after)
        if same_pods and item.live is not None and crowd(item.live) == crowd(item.after):
            return
        self._count(item, self._admit(item, pod))

    def _awaits_policy(self, item: Item) -> bool:
        """Whether something that decides about the pods is itself only planned."""
        return self._check and any(
            other.changed and other.key.kind in _POLICY and other.key.namespace in ("", item.key.namespace)
            for other in self._items
        )

    # One pod

    def _admit(self, item: Item, pod: Json) -> Json:
        """The pod as the server would make it."""
        deadline = time.monotonic() + _SETTLING_SECONDS
        while True:
            try:
                return self._api.create(pod, dry_run=True)
            except KubeError as error:
                if "exceeded quota: " in error.server_message and self._own_pods(item):
                    # Its present pods make room for the new ones; how much of it, the count tells.
                    ranges = self._api.list("v1", "LimitRange", item.key.namespace)
                    return with_defaults(pod, ranges)
                # A namespace made a moment ago has no service account yet: its controller is about to make it.
                early = "error looking up service account" in error.server_message and self._is_new(item)
                if not early or time.monotonic() > deadline:
                    raise KubeError(
                        f"{item.key} was not applied: its pods would be refused: {error.server_message or error}",
                        status=error.status,
                        reason=error.reason,
                        server_message=error.server_message,
                        body=error.body,
                        expected="a pod template that the namespace's policies accept",
                        found=f"HTTP status {error.status} for a Pod of this template, in a dry run",
                        remedy="correct what the message names (resources, security context, service account, quota)",
                    ) from error
            time.sleep(_POLL_SECONDS)

    def _is_new(self, item: Item) -> bool:
        return any(
            other.key.kind == "Namespace" and other.action == "created" and other.key.name == item.key.namespace
            for other in self._items
        )

    # All of them

    def _count(self, item: Item, pod: Json) -> None:
        """Whether the quotas have room for all replicas and for those that a rollout adds."""
        replicas, surge = crowd(item.after or item.wanted)
        if not replicas:
            return
        quotas = self._of_namespace(item.key.namespace)
        own = self._own_pods(item) if quotas else []
        # Pods that a rollout under way has added count as those that this one would add.
        added = max(0, len(own) - crowd(item.live)[0]) if item.live else 0
        needs = []
        for quota, room in quotas:
            each = pod_usage(pod) if applies(quota, pod) else {}
            used = total(pod_usage(one) for one in own if applies(quota, one))
            need = {
                key: max((replicas + surge) * each[key] - used.get(key, _NONE), max(0, surge - added) * each[key])
                for key in each.keys() & room.keys()
            }
            need = total((need, self._claims(item, replicas, room)))
            for key in sorted(need):
                if need[key] > max(room[key], _NONE):
                    times = f"{replicas} replicas{f' and {surge} more while it rolls' if surge else ''}"
                    raise _beyond(item, quota, key, need[key], room[key], times)
            needs.append((room, need))
        for room, need in needs:
            room.update({key: room[key] - amount for key, amount in need.items()})

    def _of_namespace(self, namespace: str) -> list[tuple[Json, Usage]]:
        if namespace not in self._quotas:
            found = self._api.list("v1", "ResourceQuota", namespace)
            self._quotas[namespace] = [(quota, left(quota)) for quota in found]
        return self._quotas[namespace]

    def _own_pods(self, item: Item) -> list[Json]:
        selector = ((item.live or {}).get("spec") or {}).get("selector") or {}
        if item.live is None or not selector:
            return []
        found = self._api.list("v1", "Pod", item.key.namespace, _as_text(selector))
        return [pod for pod in found if is_counted(pod)]

    def _claims(self, item: Item, replicas: int, room: Usage) -> Usage:
        """What the claims cost that a StatefulSet has yet to make."""
        templates = ((item.after or {}).get("spec") or {}).get("volumeClaimTemplates") or []
        usages = {str(one["metadata"]["name"]): claim_usage(one) for one in templates}
        if not any(usage.keys() & room.keys() for usage in usages.values()):
            return {}
        names = "|".join(re.escape(name) for name in usages)
        pattern = re.compile(rf"({names})-{re.escape(item.key.name)}-\d+")
        there = self._api.list("v1", "PersistentVolumeClaim", item.key.namespace)
        made = [match[1] for one in there if (match := pattern.fullmatch(one["metadata"]["name"]))]
        missing = {name: max(0, replicas - made.count(name)) for name in usages}
        cost = total({key: missing[name] * amount for key, amount in usage.items()} for name, usage in usages.items())
        return {key: amount for key, amount in cost.items() if key in room}


def _as_text(selector: Mapping[str, Any]) -> str:
    """A label selector as a query takes it."""
    operators = {
        "In": "{key} in ({values})",
        "NotIn": "{key} notin ({values})",
        "Exists": "{key}",
        "DoesNotExist": "!{key}",
    }
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or []:
        parts.append(operators[one["operator"]].format(key=one["key"], values=",".join(one.get("values") or [])))
    return ",".join(parts)


def _beyond(item: Item, quota: Mapping[str, Any], resource: str, need: Decimal, room: Decimal, times: str) -> KubeError:
    hard = ((quota.get("status") or {}).get("hard") or quota["spec"]["hard"])[resource]
    name = quota["metadata"]["name"]
    needed, has = format_quantity(need, resource), format_quantity(max(room, _NONE), resource)
    return KubeError(
        f"{item.key} was not applied: it would exceed quota {name}: {resource}: {needed} more needed, {has} left",
        status=403,
        reason="Forbidden",
        expected=f"room in ResourceQuota {item.key.namespace}/{name} for {times}, beside the pods it has",
        found=f"{resource}: {needed} more needed, {has} left of {hard}",
        remedy=f"raise the quota, free some of it, or lower the replicas, the surge or {resource} of a pod",
        quota={"name": name, "resource": resource, "needed": needed, "left": has, "hard": str(hard)},
    )
