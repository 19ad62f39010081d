# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A replica that cannot come back, because its volume is on a node that is gone: another volume, copied anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.patroni import Member

__all__ = ["needed", "renew"]

_CLAIM = "data"
_POLL_SECONDS = 0.5


def needed(pod: str, instances: Sequence[str], members: Sequence[Member], leader: str | None, *, force: bool) -> bool:
    """Whether the pod's volume is to be replaced. Raises CeleryOpsError where that could cost data."""
    if pod not in instances:
        raise CeleryOpsError(
            f"'{pod}' is no instance of the cluster",
            expected=", ".join(instances) or "an instance",
            found=pod,
            remedy="Name one of the pods of the cluster's StatefulSet.",
        )
    if leader is None or not any(one.pod == leader and one.ready for one in members):
        raise CeleryOpsError(
            "There is no primary to copy from",
            expected="a ready pod that holds the lock",
            found=f"lock: {leader or 'nobody'}; ready: {', '.join(m.pod for m in members if m.ready) or 'none'}",
            remedy="Wait for one. Until then each volume may be the only one with the last commits.",
        )
    if pod == leader:
        raise CeleryOpsError(
            f"'{pod}' leads the cluster",
            expected="a replica",
            found="the primary",
            remedy="Let another instance take over first, by deleting this pod.",
        )
    streams = any(one.pod == pod and one.ready and one.replication == "streaming" for one in members)
    return force or not streams


def renew(
    cluster: PatroniCluster, pod: str, result: dict[str, Any], *, force: bool, check: bool, timeout: float
) -> None:
    """Replaces volume and pod of a replica that does not stream, and returns when it does."""
    stateful = cluster.api.get(ObjectRef("apps/v1", "StatefulSet", cluster.name, cluster.namespace)) or {}
    instances = [f"{cluster.name}-{number}" for number in range((stateful.get("spec") or {}).get("replicas", 0))]
    members = cluster.members()
    result["before"] = _told(members, pod)
    if not needed(pod, instances, members, cluster.leader(), force=force):
        result["after"] = result["before"]
        return
    result["changed"] = True
    if check:
        return
    claim = ObjectRef("v1", "PersistentVolumeClaim", f"{_CLAIM}-{pod}", cluster.namespace)
    place = ObjectRef("v1", "Pod", pod, cluster.namespace)
    old = cluster.api.get(claim)
    if old is not None:
        # It goes when no pod holds it. The pod may be on a node that will never say that it has ended.
        cluster.api.delete(claim, uid=old["metadata"]["uid"])
    cluster.api.delete(place, grace_seconds=0)
    deadline = time.monotonic() + timeout
    while True:
        new, members = cluster.api.get(claim), cluster.members()
        fresh = new is not None and (old is None or new["metadata"]["uid"] != old["metadata"]["uid"])
        result["after"] = _told(members, pod)
        if fresh and any(one.pod == pod and one.ready and one.replication == "streaming" for one in members):
            return
        if time.monotonic() > deadline:
            raise CeleryOpsError(
                f"Replica '{pod}' does not stream from its new volume",
                expected=f"a copy of the primary within {timeout:g} s",
                found=f"claim {'new' if fresh else 'not replaced yet'}; {result['after'] or 'no pod'}",
                remedy=f"Read events and log of pod {pod} in namespace {cluster.namespace}.",
            )
        time.sleep(_POLL_SECONDS)


def _told(members: Sequence[Member], pod: str) -> dict[str, Any] | None:
    return next((one.as_dict() for one in members if one.pod == pod), None)
