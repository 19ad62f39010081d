# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user declared, checked and brought into the form the server speaks of. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

from .resources import Json, Key, key_of

__all__ = ["kinds_in", "parse_definitions", "problems_in"]


def kinds_in(documents: Iterable[Any]) -> set[tuple[str, str]]:
    """(apiVersion, kind) of every document that names both."""
    pairs = {
        (document.get("apiVersion"), document.get("kind"))
        for document in _flat(documents)
        if isinstance(document, Mapping)
    }
    return {(one, other) for one, other in pairs if isinstance(one, str) and isinstance(other, str)}


def parse_definitions(
    documents: Iterable[Any], namespaced: Mapping[tuple[str, str], bool], namespace: str | None
) -> list[Json]:
    """The objects in the order given.

    Empty documents are left out, Lists taken apart, nulls removed, `stringData` encoded into `data`. `namespaced`
    tells of (apiVersion, kind) whether it lives in namespaces; there `namespace` is filled in where none is given.
    Raises CeleryOpsError that names everything wrong at once.
    """
    objects: list[Json] = []
    problems: list[str] = []
    for place, document in enumerate(_flat(documents), start=1):
        problem = _problem_of(document)
        if problem:
            problems.append(f"definition {place}: {problem}")
            continue
        obj = _encoded(_without_nulls(document))
        for field in ("labels", "annotations"):
            if not obj["metadata"].get(field, True):
                del obj["metadata"][field]
        lives = namespaced.get((obj["apiVersion"], obj["kind"]), True)
        if lives and namespace and not obj["metadata"].get("namespace"):
            obj["metadata"]["namespace"] = namespace
        objects.append(obj)
    problems += _duplicates(objects)
    if problems:
        raise CeleryOpsError(
            "the definitions are not valid",
            expected="objects with apiVersion, kind and metadata.name, each of them once",
            found="; ".join(problems),
            remedy="correct the definitions; nothing was applied",
        )
    return objects


def problems_in(document: Any) -> list[str]:
    """What is wrong with one document, a List with each of its items; none of an empty one."""
    return [problem for problem in map(_problem_of, _flat([document])) if problem]


def _flat(documents: Iterable[Any]) -> Iterable[Any]:
    for document in documents:
        if not document:
            continue
        if isinstance(document, Mapping) and document.get("kind") == "List" and "items" in document:
            yield from _flat(document["items"] or [])
        else:
            yield document


def _problem_of(document: Any) -> str | None:
    if not isinstance(document, Mapping):
        return f"a mapping is expected, found {type(document).__name__}"
    missing = [key for key in ("apiVersion", "kind") if not isinstance(document.get(key), str) or not document[key]]
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if isinstance(name, str) and name and not missing:
        return _problem_with_data(document)
    if isinstance(metadata, Mapping) and metadata.get("generateName"):
        return f"{document.get('kind')} uses generateName, which would make another object on every run"
    if name is not None and not isinstance(name, str):
        return f"{document.get('kind')}: metadata.name must be a string, found {name!r}"
    missing += [] if name else ["metadata.name"]
    return f"{document.get('kind') or 'object'} {name or ''}".strip() + f" lacks {', '.join(missing)}"


def _problem_with_data(document: Mapping[str, Any]) -> str | None:
    """Numbers and booleans want quotes. The server would say so too, and repeat the value of a Secret in saying it."""
    if document["kind"] not in ("ConfigMap", "Secret"):
        return None
    for field in ("data", "stringData", "binaryData"):
        values = document.get(field) or {}
        if not isinstance(values, Mapping):
            return f"{document['kind']} {document['metadata']['name']}: {field} must be a mapping"
        for key, value in values.items():
            if value is not None and not isinstance(value, str):
                found = type(value).__name__
                return (
                    f"{document['kind']} {document['metadata']['name']}: {field}.{key} must be a string, found {found}"
                )
    return None


def _duplicates(objects: list[Json]) -> list[str]:
    seen: set[Key] = set()
    found = []
    for obj in objects:
        key = key_of(obj)
        if key in seen:
            found.append(f"{key} is defined more than once")
        seen.add(key)
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _encoded(obj: Json) -> Json:
    """stringData is a convenience of writing: what the server keeps, and compares, is data."""
    if obj["kind"] == "Secret" and "stringData" in obj:
        plain = obj.pop("stringData")
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}
    return obj
