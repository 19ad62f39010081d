# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set that remembers its members, as kubectl's ApplySet (KEP-3659) writes it down. Pure.

A parent object carries the set's identity and where its members may be; every member carries that identity as a label.
What carries the label and is not in the set any more has left it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import KubeError
from .resources import Json, key_of

__all__ = ["PROTECTED", "ApplySet", "Scope"]

_ID = "applyset.kubernetes.io/id"
_PART_OF = "applyset.kubernetes.io/part-of"
_TOOLING = "applyset.kubernetes.io/tooling"
_KINDS = "applyset.kubernetes.io/contains-group-kinds"
_NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
# What is lost with them does not come back by applying again.
PROTECTED = frozenset((("", "Namespace"), ("", "PersistentVolumeClaim")))


@dataclass(frozen=True, slots=True)
class Scope:
    """Where members may be: kinds as (group, kind), and namespaces."""

    kinds: frozenset[tuple[str, str]] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def __or__(self, other: Scope) -> Scope:
        return Scope(self.kinds | other.kinds, self.namespaces | other.namespaces)

    @classmethod
    def of(cls, objects: Iterable[Mapping[str, Any]]) -> Scope:
        keys = [key_of(obj) for obj in objects]
        return cls(
            frozenset((key.group, key.kind) for key in keys), frozenset(key.namespace for key in keys if key.namespace)
        )


@dataclass(frozen=True, slots=True)
class ApplySet:
    """The set that a parent object stands for. `tooling` is the name of the tool it belongs to, a slash, a version."""

    name: str
    namespace: str
    kind: str
    tooling: str

    @property
    def id(self) -> str:
        digest = hashlib.sha256(f"{self.name}.{self.namespace}.{self.kind}.".encode()).digest()
        return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"

    @property
    def field_manager(self) -> str:
        """Under which the parent is written; kubectl derives its own the same way."""
        return f"{_tool(self.tooling)}-applyset"

    @property
    def selector(self) -> str:
        return f"{_PART_OF}={self.id}"

    def __str__(self) -> str:
        return f"apply set {self.kind} {self.namespace}/{self.name}"

    def labelled(self, obj: Json) -> Json:
        """The object as a member. Raises KubeError where it names a set by itself."""
        metadata = obj["metadata"]
        labels = metadata.get("labels") or {}
        if _PART_OF in labels:
            raise KubeError(
                f"{key_of(obj)} carries the label {_PART_OF}",
                expected="definitions that leave this label to the module",
                found=f"{labels[_PART_OF]!r}",
                remedy="remove the label from the definition",
            )
        return {**obj, "metadata": {**metadata, "labels": {**labels, _PART_OF: self.id}}}

    def is_member(self, live: Mapping[str, Any]) -> bool:
        return (live["metadata"].get("labels") or {}).get(_PART_OF) == self.id

    def refuse_foreign(self, live: Mapping[str, Any] | None) -> None:
        """Raises KubeError for an object that is a member of another set."""
        other = (((live or {}).get("metadata") or {}).get("labels") or {}).get(_PART_OF, self.id)
        if live is not None and other != self.id:
            raise KubeError(
                f"{key_of(live)} belongs to another apply set",
                status=409,
                reason="Conflict",
                expected=f"an object of no set or of {self} ({self.id})",
                found=f"the label {_PART_OF}: {other}",
                remedy="define the object in one set only, or take it over with `force_conflicts: true`",
            )

    def parent(self, scope: Scope, live: Mapping[str, Any] | None) -> Json:
        """The parent object for members within `scope`. A version that the same tool has noted before stays."""
        noted = _annotations(live).get(_TOOLING, "")
        return {
            "apiVersion": "v1",
            "kind": self.kind,
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {_ID: self.id},
                "annotations": {
                    _TOOLING: noted if _tool(noted) == _tool(self.tooling) else self.tooling,
                    _KINDS: ",".join(sorted(f"{kind}.{group}" if group else kind for group, kind in scope.kinds)),
                    _NAMESPACES: ",".join(sorted(scope.namespaces - {self.namespace})),
                },
            },
        }

    def scope(self, live: Mapping[str, Any] | None) -> Scope:
        """Where the members of the set as it is now may be. Raises KubeError for a parent that is not ours."""
        if live is None:
            return Scope()
        annotations = _annotations(live)
        tool, found = _tool(self.tooling), annotations.get(_TOOLING)
        problem = None
        if found is None:
            problem = f"no annotation {_TOOLING}"
        elif _tool(found) != tool:
            problem = f"it is managed by {_tool(found)}"
        elif (live["metadata"].get("labels") or {}).get(_ID) != self.id:
            problem = f"the label {_ID}: {(live['metadata'].get('labels') or {}).get(_ID)}"
        elif _KINDS not in annotations:
            problem = f"no annotation {_KINDS}"
        if problem:
            raise KubeError(
                f"{self}: the parent exists and is not ours to change",
                expected=f"{self.kind} {self.namespace}/{self.name} as {tool} makes it for this set",
                found=problem,
                remedy="give the set another name, or let the tool that made it manage it "
                "(`apply_set.tooling` names the tool that shares the set)",
            )
        kinds = (one.partition(".") for one in annotations[_KINDS].split(",") if one)
        namespaces = (one for one in annotations.get(_NAMESPACES, "").split(",") if one)
        return Scope(frozenset((group, kind) for kind, _dot, group in kinds), frozenset((*namespaces, self.namespace)))


def _annotations(obj: Mapping[str, Any] | None) -> Mapping[str, str]:
    return ((obj or {}).get("metadata") or {}).get("annotations") or {}


def _tool(tooling: str) -> str:
    """The name without its version."""
    return tooling.rpartition("/")[0] or tooling
