# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a set of objects to what is wanted: read, compare, and write only what differs."""

from __future__ import annotations

import time

from .client import Api, KubeError
from .compare import unchanged
from .handover import AUTOSCALERS, SCALED, sole, targets
from .items import Item, outcome
from .order import WORKLOADS, rank
from .prune import Pruner
from .resources import Json
from .rollout import ANNOTATION, ROLLED, config_hash, sources
from .snapshot import Snapshot
from .tryout import Tryout
from .wait import progress_of
from .write import Settings, Writer

__all__ = ["Applier", "Settings"]

_CRD = "CustomResourceDefinition"
_POLL_SECONDS = 0.1
# How long the server takes at most until a new CRD serves.
_SETTLING_SECONDS = 15.0


class Applier:
    """One run over one set. `items` hold the outcome at any time, also after an error.

    With a `pruner`, what has left the set is deleted, and its items stand among the others.
    """

    def __init__(self, api: Api, objects: list[Json], settings: Settings, pruner: Pruner | None = None) -> None:
        self._api = api
        self._settings = settings
        self._pruner = pruner
        self._set = sorted((Item(wanted) for wanted in objects), key=lambda item: rank(item.key.kind))
        self._autoscaled = targets(objects)
        self._snapshot = Snapshot(api)
        self._writer = Writer(api, settings)
        self._tryout = Tryout(api, self._set, check=settings.check)
        self._no_namespace: set[str] = set()

    @property
    def items(self) -> list[Item]:
        """The set in the order of work, after its parent and before what has left it."""
        pruner = self._pruner
        return [pruner.parent, *self._set, *pruner.items] if pruner else self._set

    def run(self) -> None:
        """Applies the set in order; raises KubeError at the first object that is refused."""
        self._refuse_unknown_kinds()
        self._snapshot.read((one for one in self._set if one.planned_on == "server"), whole=self._pruner is not None)
        if self._pruner:
            self._pruner.read(self._set, self._snapshot, force=self._settings.force)
        recorded = freed = self._pruner is None
        for item in self._set:
            if self._pruner and not recorded and item.key.kind != "Namespace":
                # The parent may live in a namespace of the set; that one is never deleted unasked.
                self._pruner.widen()
                recorded = True
            if self._pruner and not freed and item.key.kind in SCALED:
                # An autoscaler that has left must not scale what has its number from the definition again.
                self._pruner.delete(AUTOSCALERS)
                freed = True
            try:
                self._settle(item)
            except KubeError:
                item.action = "failed"
                raise
            self._snapshot.put(item.key, item.after)
            if item.key.kind == _CRD and item.changed and not self._settings.check:
                self._await_definition(item)
        if self._pruner:
            self._pruner.delete()
            self._pruner.narrow()

    def _refuse_unknown_kinds(self) -> None:
        """Before anything is written. In check mode what brings a kind may not have been applied yet."""
        promised = set()
        for item in self._set:
            if item.key.kind == _CRD:
                spec = item.wanted.get("spec") or {}
                promised.add((spec.get("group"), (spec.get("names") or {}).get("kind")))
        for item in self._set:
            ref = item.ref
            if self._api.find_resource(ref.api_version, ref.kind) is None:
                if not self._settings.check and (item.key.group, item.key.kind) not in promised:
                    self._api.resource(ref.api_version, ref.kind)
                item.planned_on = "client"

    def _settle(self, item: Item) -> None:
        kind = item.key.kind
        if self._settings.config_rollout and kind in ROLLED:
            self._stamp(item.wanted)
        if kind in SCALED:
            self._give_away(item)
        if item.live is not None and unchanged(item.wanted, item.live, self._settings.manager):
            item.action, item.after = "unchanged", item.live
            return
        if self._settings.check or kind in WORKLOADS:
            item.after = self._try(item)
            item.action = outcome(item, self._settings.manager)
            if item.action == "unchanged":
                return
            if item.planned_on == "server":
                self._tryout.ask(item)
            if self._settings.check:
                return
        item.after = self._writer.write(item)
        item.action = outcome(item, self._settings.manager)

    def _try(self, item: Item) -> Json:
        """What the server would make of it; where the server cannot tell yet, what is wanted."""
        if item.planned_on == "server" and item.key.namespace not in self._no_namespace:
            try:
                return self._writer.dry_run(item)
            except KubeError as error:
                missing = (error.body.get("details") or {}).get("kind") == "namespaces"
                if not (self._settings.check and error.not_found and missing):
                    raise
                self._no_namespace.add(item.key.namespace)
        item.planned_on = "client"
        return item.trial

    def _give_away(self, item: Item) -> None:
        """Leaves replicas to the autoscaler of the set; what the definition says of them is where it starts."""
        spec = item.wanted.get("spec") or {}
        start = spec.pop("replicas", None) if item.target in self._autoscaled else None
        if item.live is None:
            item.replicas = start
        elif "replicas" not in spec and sole(item.live, self._settings.manager):
            item.replicas = int(item.live["spec"]["replicas"])

    def _stamp(self, workload: Json) -> None:
        """Notes in the pod template what its pods read, so that a change of it rolls them."""
        namespace = str(workload["metadata"].get("namespace") or "")
        digest = config_hash(sources(workload), lambda kind, name: self._snapshot.config(kind, namespace, name))
        if digest is not None:
            metadata = workload["spec"]["template"].setdefault("metadata", {})
            metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION: digest}

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
