# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where objects live: kind to path, from the API server's discovery document. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

__all__ = ["Json", "Key", "ObjectRef", "Resource", "key_of", "parse_discovery"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the server serves it, e.g. apps/v1 Deployment at `deployments`."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        root = "/apis" if "/" in self.api_version else "/api"
        parts = [root, self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Which object, and by which version of its API; `namespace` is None for a cluster-scoped one."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> ObjectRef:
        """The reference of an object as a manifest gives it."""
        meta = obj["metadata"]
        return cls(str(obj["apiVersion"]), str(obj["kind"]), str(meta["name"]), meta.get("namespace"))

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What makes an object the same object: its API group (any version), kind, namespace and name."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def key_of(obj: Mapping[str, Any]) -> Key:
    version = str(obj["apiVersion"])
    meta = obj["metadata"]
    group = version.rpartition("/")[0]
    return Key(group, str(obj["kind"]), str(meta.get("namespace") or ""), str(meta["name"]))


def parse_discovery(documents: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Resource]:
    """(apiVersion, kind) to Resource, from aggregated discovery documents (apidiscovery.k8s.io/v2)."""
    found = {}
    for document in documents:
        for group in document.get("items") or []:
            name = (group.get("metadata") or {}).get("name") or ""
            for version in group.get("versions") or []:
                api_version = f"{name}/{version['version']}" if name else str(version["version"])
                for item in version.get("resources") or []:
                    kind = (item.get("responseKind") or {}).get("kind")
                    if kind:
                        found[api_version, kind] = Resource(
                            api_version, kind, item["resource"], item.get("scope") == "Namespaced"
                        )
    return found
