# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of a container, as far as it may be known without entering it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.shapes import shape
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Workload

__all__ = ["BROKER", "Variable", "environment", "first"]

Json = Mapping[str, Any]
BROKER = ("CELERY_BROKER_URL", "BROKER_URL", "CELERY_BROKER", "REDIS_URL")


@dataclass(frozen=True)
class Variable:
    """Where a variable comes from, and its shape; `value` is None for what is or looks secret."""

    name: str
    source: str
    value: str | None
    shape: Json

    @property
    def endpoint(self) -> str:
        """Where it leads to, when it is a URL."""
        return str(self.shape.get("endpoint") or "")


def environment(seen: Snapshot, workload: Workload) -> dict[str, Variable]:
    """Variable by name; what is missing is left out."""
    found: dict[str, Variable] = {}
    for source in workload.container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for one in _all(seen, source):
            found[prefix + one.name] = Variable(prefix + one.name, one.source, one.value, one.shape)
    for entry in workload.container.get("env") or ():
        own = _single(seen, entry)
        if own is not None:
            found[own.name] = own
    return found


def first(seen: Snapshot, workload: Workload, names: tuple[str, ...]) -> Variable | None:
    """The first of some variables that is set."""
    given = environment(seen, workload)
    return next((given[name] for name in names if name in given), None)


def _config_maps(seen: Snapshot) -> dict[str, Json]:
    return {one["metadata"]["name"]: one.get("data") or {} for one in seen.kind("ConfigMap")}


def _all(seen: Snapshot, source: Json) -> Iterator[Variable]:
    if "configMapRef" in source:
        name = source["configMapRef"]["name"]
        for key, value in _config_maps(seen).get(name, {}).items():
            yield _plain(key, f"ConfigMap {name}", value)
    if "secretRef" in source:
        name = source["secretRef"]["name"]
        for key, form in seen.secrets.get(name, {}).items():
            yield Variable(key, f"Secret {name}", None, form)


def _single(seen: Snapshot, entry: Json) -> Variable | None:
    name = entry["name"]
    origin = entry.get("valueFrom") or {}
    if "configMapKeyRef" in origin:
        ref = origin["configMapKeyRef"]
        value = _config_maps(seen).get(ref["name"], {}).get(ref["key"])
        return None if value is None else _plain(name, f"ConfigMap {ref['name']}, key {ref['key']}", value)
    if "secretKeyRef" in origin:
        ref = origin["secretKeyRef"]
        form = seen.secrets.get(ref["name"], {}).get(ref["key"])
        return None if form is None else Variable(name, f"Secret {ref['name']}, key {ref['key']}", None, form)
    if origin:
        return None
    return _plain(name, "the container's env", entry.get("value") or "")


def _plain(name: str, source: str, value: Any) -> Variable:
    # What looks secret was replaced by its shape when the snapshot was made.
    if isinstance(value, Mapping):
        return Variable(name, source, None, value)
    return Variable(name, source, str(value), shape(str(value)))
