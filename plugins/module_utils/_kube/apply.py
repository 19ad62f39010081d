# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a set of objects to what is wanted: read, compare, and write only what differs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .admission import sample_pod
from .client import Api, KubeError
from .compare import meaningful, owned_fields, unchanged
from .items import Item
from .order import WORKLOADS, rank
from .ownership import claims, is_drift
from .resources import Json, ObjectRef
from .rollout import ANNOTATION, ROLLED, config_hash, sources
from .wait import progress_of

__all__ = ["Applier", "Settings"]

_CRD = "CustomResourceDefinition"
_POLL_SECONDS = 0.1
# How long the server takes at most until a new CRD serves, or a new namespace has its service account.
_SETTLING_SECONDS = 15.0
# Kinds that decide what pods may be made: while one of them is only planned, the server's answer would be of the past.
_POLICY = frozenset(("Namespace", "LimitRange", "ResourceQuota", "ServiceAccount", "PriorityClass"))


@dataclass(frozen=True, slots=True)
class Settings:
    """How to apply. `check`: only ask what would happen."""

    manager: str
    force: bool = False
    check: bool = False
    config_rollout: bool = True


class Applier:
    """One run over one set. `items` hold the outcome at any time, also after an error."""

    def __init__(self, api: Api, objects: list[Json], settings: Settings) -> None:
        self._api = api
        self._settings = settings
        self.items = sorted((Item(wanted) for wanted in objects), key=lambda item: rank(item.key.kind))
        # What pods may read: (kind, namespace, name) to the object as it is, or is going to be.
        self._configs: dict[tuple[str, str, str], Json | None] = {}
        self._listed: set[tuple[str, str]] = set()
        self._no_namespace: set[str] = set()

    def run(self) -> None:
        """Applies the set in order; raises KubeError at the first object that is refused."""
        self._refuse_unknown_kinds()
        self._read()
        for item in self.items:
            try:
                self._settle(item)
            except KubeError:
                item.action = "failed"
                raise
            if item.key.kind in ("ConfigMap", "Secret"):
                self._configs[item.key.kind, item.key.namespace, item.key.name] = item.after
            if item.key.kind == _CRD and item.changed and not self._settings.check:
                self._await_definition(item)

    # Reading

    def _refuse_unknown_kinds(self) -> None:
        """Before anything is written. In check mode what brings a kind may not have been applied yet."""
        promised = set()
        for item in self.items:
            if item.key.kind == _CRD:
                spec = item.wanted.get("spec") or {}
                promised.add((spec.get("group"), (spec.get("names") or {}).get("kind")))
        for item in self.items:
            ref = item.ref
            if self._api.find_resource(ref.api_version, ref.kind) is None:
                if not self._settings.check and (item.key.group, item.key.kind) not in promised:
                    self._api.resource(ref.api_version, ref.kind)
                item.planned_on = "client"

    def _read(self) -> None:
        groups: dict[tuple[str, str, str], list[Item]] = defaultdict(list)
        for item in self.items:
            if item.planned_on == "server":
                groups[item.ref.api_version, item.key.kind, item.key.namespace].append(item)
        for (version, kind, namespace), items in groups.items():
            if len(items) == 1:
                items[0].live = self._api.get(items[0].ref)
                continue
            live = {obj["metadata"]["name"]: obj for obj in self._api.list(version, kind, namespace or None)}
            for item in items:
                item.live = live.get(item.key.name)
            if kind in ("ConfigMap", "Secret"):
                self._listed.add((kind, namespace))
                self._configs.update({(kind, namespace, name): obj for name, obj in live.items()})

    # Writing

    def _settle(self, item: Item) -> None:
        kind = item.key.kind
        if self._settings.config_rollout and kind in ROLLED:
            self._stamp(item.wanted)
        if item.live is not None and unchanged(item.wanted, item.live, self._settings.manager):
            item.action, item.after = "unchanged", item.live
            return
        if self._settings.check or kind in WORKLOADS:
            item.after = self._try(item)
            item.action = self._action(item)
            if item.action == "unchanged":
                return
            if item.planned_on == "server" and not self._awaits_policy(item):
                self._admit(item)
            if self._settings.check:
                return
        item.after = self._write(item, dry_run=False)
        item.action = self._action(item)

    def _try(self, item: Item) -> Json:
        """What the server would make of it; where the server cannot tell yet, what is wanted."""
        if item.planned_on == "server" and item.key.namespace not in self._no_namespace:
            try:
                return self._write(item, dry_run=True)
            except KubeError as error:
                missing = (error.body.get("details") or {}).get("kind") == "namespaces"
                if not (self._settings.check and error.not_found and missing):
                    raise
                self._no_namespace.add(item.key.namespace)
        item.planned_on = "client"
        return item.wanted

    def _action(self, item: Item) -> str:
        if item.live is None:
            return "created"
        if meaningful(item.live) != meaningful(item.after):
            return "configured"
        mine = [owned_fields(obj, self._settings.manager) for obj in (item.live, item.after)]
        return "unchanged" if mine[0] == mine[1] else "adopted"

    def _write(self, item: Item, *, dry_run: bool) -> Json:
        manager = self._settings.manager
        try:
            return self._api.apply(item.wanted, field_manager=manager, dry_run=dry_run)
        except KubeError as error:
            found = claims(error.causes) if error.conflict else []
            if not found:
                raise _explained(item, error) from error
        live = self._api.get(item.ref) or {}
        held = [claim for claim in found if not is_drift(claim, live)]
        if held and not self._settings.force:
            raise KubeError(
                f"{item.key}: others hold fields that are wanted here",
                status=409,
                reason="Conflict",
                expected=f"fields that nobody but {manager} applies",
                found="; ".join(map(str, held)),
                remedy="leave these fields out of the definition, or take them over with `force_conflicts: true`",
                conflicts=[{"manager": claim.manager, "field": claim.field} for claim in held],
            )
        item.drift = found
        return self._api.apply(item.wanted, field_manager=manager, force=True, dry_run=dry_run)

    def _await_definition(self, item: Item) -> None:
        """A new kind is served a moment after its definition was accepted."""
        spec = item.wanted["spec"]
        kind = spec["names"]["kind"]
        versions = [f"{spec['group']}/{one['name']}" for one in spec["versions"] if one.get("served", True)]
        deadline = time.monotonic() + _SETTLING_SECONDS
        while True:
            progress = progress_of(self._api.get(item.ref) or item.wanted)
            if progress.done and all(self._api.find_resource(one, kind, fresh=True) for one in versions):
                return
            if progress.failed or time.monotonic() > deadline:
                raise KubeError(
                    f"{item.key} does not come into effect",
                    expected=f"kind {kind} being served within {_SETTLING_SECONDS:g} s",
                    found=progress.message,
                    remedy="correct the definition; `kubectl describe crd` tells more",
                )
            time.sleep(_POLL_SECONDS)

    # Pods

    def _stamp(self, workload: Json) -> None:
        """Notes in the pod template what its pods read, so that a change of it rolls them."""
        namespace = str(workload["metadata"].get("namespace") or "")
        digest = config_hash(sources(workload), lambda kind, name: self._config(kind, namespace, name))
        if digest is not None:
            metadata = workload["spec"]["template"].setdefault("metadata", {})
            metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION: digest}

    def _config(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        key = (kind, namespace, name)
        if key not in self._configs:
            known = (kind, namespace) in self._listed
            self._configs[key] = None if known else self._api.get(ObjectRef("v1", kind, name, namespace))
        return self._configs[key]

    def _awaits_policy(self, item: Item) -> bool:
        """Whether something that decides about the pods is itself only planned."""
        return self._settings.check and any(
            other.changed and other.key.kind in _POLICY and other.key.namespace in ("", item.key.namespace)
            for other in self.items
        )

    def _admit(self, item: Item) -> None:
        """Asks the server now whether it would take the pods; later it would refuse them in silence."""
        pod = sample_pod(item.after or item.wanted)
        if pod is None:
            return
        deadline = time.monotonic() + _SETTLING_SECONDS
        while True:
            try:
                self._api.create(pod, dry_run=True)
                return
            except KubeError as error:
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
            for other in self.items
        )


def _explained(item: Item, error: KubeError) -> KubeError:
    """The server's refusal with what to do about it."""
    said = error.server_message
    remedy = error.remedy
    if "immutable" in said or "may not change once set" in said or ("are forbidden" in said and "updates to" in said):
        remedy = f"delete {item.key} so that it is made anew, or give the new one another name"
    elif error.status in (400, 422) or error.is_permanent:
        remedy = "correct the definition where the message points"
    return KubeError(
        str(error.message),
        status=error.status,
        reason=error.reason,
        server_message=said,
        body=error.body,
        expected=error.expected,
        found=error.found,
        remedy=remedy,
    )
