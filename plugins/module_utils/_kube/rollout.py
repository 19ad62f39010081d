# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolling the pods whose configuration changed, and only those: a hash of what a pod reads. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .order import pod_template

__all__ = ["ANNOTATION", "ROLLED", "Source", "config_hash", "sources"]

ANNOTATION = "celeryops.platform/config-hash"
# A Job's template cannot change, and a CronJob's next pod reads the present data anyway.
ROLLED = frozenset(("Deployment", "StatefulSet", "DaemonSet"))


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One thing a pod reads: a key of a ConfigMap or Secret, or with `key` empty all of them."""

    kind: str
    name: str
    key: str = ""


def sources(workload: Mapping[str, Any]) -> tuple[Source, ...]:
    """Everything that the workload's pods read from ConfigMaps and Secrets, sorted."""
    spec = (pod_template(workload) or {}).get("spec") or {}
    found = set(_of_containers(spec))
    for volume in spec.get("volumes") or []:
        for part in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            found.update(_of_volume(part))
    return tuple(sorted(found))


def _of_containers(spec: Mapping[str, Any]) -> Iterator[Source]:
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        for entry in container.get("envFrom") or []:
            for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if field in entry:
                    yield Source(kind, str(entry[field]["name"]))
        for entry in container.get("env") or []:
            value = entry.get("valueFrom") or {}
            for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                if field in value:
                    yield Source(kind, str(value[field]["name"]), str(value[field]["key"]))


def _of_volume(volume: Mapping[str, Any]) -> Iterator[Source]:
    for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret")):
        part = volume.get(field)
        if part is not None:
            name = str(part.get("name") or part.get("secretName"))
            items = part.get("items")
            yield from ([Source(kind, name, str(item["key"])) for item in items] if items else [Source(kind, name)])


def config_hash(read: tuple[Source, ...], lookup: Callable[[str, str], Mapping[str, Any] | None]) -> str | None:
    """A hash of the data behind `read`; None when the pods read nothing.

    `lookup(kind, name)` gives the object, or None where it does not exist. Values of Secrets go into it salted with the
    Secret's uid, so that equal passwords of two platforms do not show as equal annotations.
    """
    if not read:
        return None
    parts = []
    for source in read:
        found = lookup(source.kind, source.name)
        if found is None:
            parts.append([source.kind, source.name, source.key, None])
            continue
        data = {**(found.get("data") or {}), **(found.get("binaryData") or {})}
        if source.key:
            data = {source.key: data.get(source.key)}
        text = json.dumps(data, sort_keys=True)
        if source.kind == "Secret":
            salt = str(found["metadata"].get("uid") or "")
            text = hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()
        parts.append([source.kind, source.name, source.key, text])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
