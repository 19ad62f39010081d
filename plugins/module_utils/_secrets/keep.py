# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings Secrets to hold what was declared, without ever changing a value that is there."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import (
    Api,
    Json,
    KubeError,
    NoClusterError,
    ObjectRef,
    connect,
)
from ansible_collections.celeryops.platform.plugins.module_utils._kube.redact import shown
from ansible_collections.celeryops.platform.plugins.module_utils._kube.yamlio import dump

from .values import SecretSpec, make_value, parse_secrets, problem_with

__all__ = ["sync"]

_MANAGER = "celeryops-generated-secret"
# Each time somebody else wrote in between. More often than this is no coincidence.
_ATTEMPTS = 5


def sync(params: Mapping[str, Any], result: dict[str, Any], *, check: bool, diff: bool) -> None:
    """Does what the module's options say and fills in `result`: changed, secrets and, when asked for, diff."""
    specs = parse_secrets(params["secrets"])
    namespace = params["namespace"]
    result["secrets"] = entries = [_entry(namespace, spec) for spec in specs]
    try:
        api = connect(params)
    except NoClusterError:
        # On a fresh machine the play that would make the cluster only says so in check mode.
        if not check:
            raise
        api = None
    if api is not None:
        live = {spec.name: api.get(ObjectRef("v1", "Secret", spec.name, namespace)) for spec in specs}
        # All of them are looked at before any is written.
        _refuse([(spec, live[spec.name]) for spec in specs])
    for spec, entry in zip(specs, entries, strict=True):
        keeper = _Keeper(api, namespace, spec, check=check)
        try:
            keeper.run()
        finally:
            entry.update(action=keeper.action, generated=sorted(keeper.made))
            result["changed"] = result["changed"] or keeper.changed
        if diff and keeper.changed:
            result.setdefault("diff", []).append(keeper.diff())


def _entry(namespace: str, spec: SecretSpec) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "name": spec.name,
        "action": "pending",
        "declared": sorted(key.name for key in spec.keys),
        "generated": [],
    }


def _decoded(live: Json | None) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in ((live or {}).get("data") or {}).items()}


def _refuse(pairs: list[tuple[SecretSpec, Json | None]]) -> None:
    """Raises when what is there will not do; it is never overwritten."""
    problems = []
    for spec, live in pairs:
        if live is None:
            continue
        if live.get("type") != spec.kind:
            problems.append(f"Secret {spec.name} is of type {live.get('type')}, {spec.kind} is declared")
        present = _decoded(live)
        for key in spec.keys:
            problem = problem_with(key, present[key.name]) if key.name in present else None
            if problem:
                problems.append(f"Secret {spec.name}, key {key.name} {problem}")
    if problems:
        raise CeleryOpsError(
            "Secrets that exist do not hold what is declared",
            expected="values that meet their declarations; those that exist are never overwritten",
            found="; ".join(problems),
            remedy="change the declaration, or have whatever uses the value accept another one, then delete the key "
            "(or the Secret) so that it is made anew",
        )


class _Keeper:
    """One Secret. `action` and `made`, the names of new keys, hold the outcome at any time."""

    def __init__(self, api: Api | None, namespace: str, spec: SecretSpec, *, check: bool) -> None:
        self._api = api
        self._spec = spec
        self._check = check
        self._ref = ObjectRef("v1", "Secret", spec.name, namespace)
        self._before: Json | None = None
        self._after: Json | None = None
        self.action = "pending"
        self.made: set[str] = set()

    @property
    def changed(self) -> bool:
        return self.action in ("created", "configured")

    def diff(self) -> dict[str, str]:
        name = str(self._ref)
        before = shown(self._before, self._after) if self._before else {}
        after = shown(self._after, self._before, label="new value redacted") if self._after else {}
        return {
            "before_header": name,
            "after_header": f"{name} ({self.action})",
            "before": dump(before),
            "after": dump(after),
        }

    def run(self) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            self._before = self._api.get(self._ref) if self._api else None
            _refuse([(self._spec, self._before)])
            try:
                self._write()
                return
            except KubeError as error:
                # Somebody wrote it in between: what is there now counts, so it is looked at again.
                if not error.conflict or attempt == _ATTEMPTS:
                    self.action = "failed"
                    raise

    def _write(self) -> None:
        present = _decoded(self._before)
        new = {
            key.name: base64.b64encode(make_value(key).encode()).decode()
            for key in self._spec.keys
            if key.name not in present
        }
        self.made = set(new)
        if self._before is None:
            self._create(new)
        else:
            self._add(self._before, new)

    def _create(self, data: dict[str, str]) -> None:
        metadata: Json = {"name": self._ref.name, "namespace": self._ref.namespace}
        for option, values in (("labels", self._spec.labels), ("annotations", self._spec.annotations)):
            if values:
                metadata[option] = dict(values)
        wanted = {"apiVersion": "v1", "kind": "Secret", "type": self._spec.kind, "metadata": metadata, "data": data}
        self.action, self._after = "created", wanted
        if self._api is None:
            return
        try:
            self._after = self._api.create(wanted, dry_run=self._check, field_manager=_MANAGER)
        except KubeError as error:
            # In check mode the namespace may not have been made yet.
            if not (self._check and error.not_found):
                raise

    def _add(self, before: Json, data: dict[str, str]) -> None:
        metadata: Json = {}
        for option, values in (("labels", self._spec.labels), ("annotations", self._spec.annotations)):
            there = before["metadata"].get(option) or {}
            differing = {key: value for key, value in values.items() if there.get(key) != value}
            if differing:
                metadata[option] = differing
        self._after = before
        if not data and not metadata:
            self.action = "unchanged"
            return
        self.action = "configured"
        # With its version the write is refused when somebody else was faster: two runs make one value.
        metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
        body: Json = {"metadata": metadata, **({"data": data} if data else {})}
        if self._api is not None:
            self._after = self._api.patch(self._ref, body, field_manager=_MANAGER, dry_run=self._check)
