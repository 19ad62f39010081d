# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether applying an object would change anything, told from the live object alone. Pure.

The server records in `metadata.managedFields` which fields each manager applied. An object is unchanged when ours
are exactly those wanted now, and all of them still have the wanted values. Where this cannot be told for certain the
answer is no, and the server decides: applying what is there already changes nothing there either.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from .quantity import parse_quantity

__all__ = ["Change", "changes", "meaningful", "owned_fields", "owned_values", "unchanged"]

Fields = Mapping[str, Any]

# Their values are quantities, by the key they stand under or by their own.
_QUANTITY_MAPS = frozenset(
    (
        "limits",
        "requests",
        "hard",
        "capacity",
        "max",
        "min",
        "default",
        "defaultRequest",
        "maxLimitRequestRatio",
        "overhead",
    )
)
_QUANTITY_KEYS = frozenset(("sizeLimit", "averageValue", "divisor"))
# What the server adds inside of values that have one owner as a whole: (key of the value, key in it) to default.
_ATOMIC_DEFAULTS: dict[tuple[str, str], Any] = {
    ("fieldRef", "apiVersion"): "v1",
    ("resourceFieldRef", "divisor"): "0",
    ("volumeClaimTemplates", "apiVersion"): "v1",
    ("volumeClaimTemplates", "kind"): "PersistentVolumeClaim",
    ("volumeClaimTemplates", "status"): {"phase": "Pending"},
    ("metadata", "creationTimestamp"): None,
    ("spec", "volumeMode"): "Filesystem",
    ("subjects", "apiGroup"): "rbac.authorization.k8s.io",
    ("roleRef", "apiGroup"): "rbac.authorization.k8s.io",
    ("ports", "protocol"): "TCP",
    ("serviceAccountToken", "expirationSeconds"): 3600,
}
# Parts that the server fills although nothing was set in them. Only these: an empty selector is a value.
_FILLED = frozenset(
    (
        "behavior",
        "persistentVolumeClaimRetentionPolicy",
        "rollingUpdate",
        "scaleDown",
        "scaleUp",
        "strategy",
        "updateStrategy",
    )
)
# Kept by the server, never by those who apply.
_SERVER_METADATA = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
_CLIENT_APPLY = "kubectl.kubernetes.io/last-applied-configuration"


def owned_fields(obj: Mapping[str, Any] | None, manager: str) -> tuple[str, Fields] | None:
    """(apiVersion, fieldsV1) of what `manager` has applied, or None."""
    for entry in ((obj or {}).get("metadata") or {}).get("managedFields") or []:
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return str(entry.get("apiVersion")), entry.get("fieldsV1") or {}
    return None


def owned_values(obj: Mapping[str, Any] | None, owned: tuple[str, Fields] | None) -> Any:
    """The values of the fields that somebody owns, in any shape that equals itself; None for no fields."""
    return None if obj is None or owned is None else _values(obj, owned[1])


def _values(value: Any, fields: Fields) -> Any:
    inner = {name: below for name, below in fields.items() if name != "."}
    if not inner:
        return value
    found = {}
    for name, below in inner.items():
        if name.startswith("f:") and isinstance(value, Mapping):
            found[name] = _values(value.get(name[2:]), below)
        elif name.startswith("k:") and isinstance(value, list):
            identity = json.loads(name[2:])
            fits = [one for one in value if isinstance(one, Mapping) and identity.items() <= one.items()]
            found[name] = [_values(one, below) for one in fits]
        else:
            found[name] = None
    return found


def unchanged(wanted: Mapping[str, Any], live: Mapping[str, Any], manager: str) -> bool:
    """True when applying `wanted` as `manager` is certain to change nothing."""
    body = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "metadata")}
    metadata = {key: value for key, value in wanted["metadata"].items() if key not in ("name", "namespace") and value}
    if metadata:
        body["metadata"] = metadata
    owned = owned_fields(live, manager)
    if owned is None:
        # The server keeps no record of an apply that sets nothing (a plain ServiceAccount).
        return not body
    if owned[0] != wanted["apiVersion"]:
        return False
    return _same_map(body, live, owned[1], "")


def _same_map(wanted: Mapping[str, Any], live: Any, fields: Fields, parent: str) -> bool:
    if not isinstance(live, Mapping):
        return False
    owned = {name[2:]: inner for name, inner in fields.items() if name.startswith("f:")}
    if set(owned) - set(wanted):
        return False
    for key, value in wanted.items():
        if key not in owned:
            # The server drops empty maps and lists, so nobody owns them.
            if value in ({}, []) and live.get(key) in (None, {}, []):
                continue
            return False
        if not _same(value, live.get(key), owned[key], key, parent):
            return False
    return True


def _same(wanted: Any, live: Any, fields: Fields, key: str, parent: str) -> bool:
    inner = {name: value for name, value in fields.items() if name != "."}
    if not inner:
        if "." in fields or live is None:
            # The server keeps no zero values; of what we own, nothing else can be missing.
            return wanted in ({}, [], False, "") if live is None else wanted in ({}, [])
        return (wanted == {} and key in _FILLED) or _same_atomic(wanted, live, key, parent)
    if isinstance(wanted, Mapping):
        return _same_map(wanted, live, inner, key)
    if isinstance(wanted, list) and isinstance(live, list) and len(inner) == len(wanted):
        if all(name.startswith("k:") for name in inner):
            return _same_keyed(wanted, live, inner, key)
        if all(name.startswith("v:") for name in inner):
            return _in_order([live.index(value) if value in live else -1 for value in wanted])
    return False


def _in_order(positions: list[int]) -> bool:
    return -1 not in positions and positions == sorted(positions)


def _same_keyed(wanted: list[Any], live: list[Any], fields: Fields, key: str) -> bool:
    """Lists whose items are known by some of their fields, as containers by name."""
    identities = {name: json.loads(name[2:]) for name in fields}
    positions, left = [], dict(identities)
    for item in wanted:
        if not isinstance(item, Mapping):
            return False
        # A field of the identity that is not given is defaulted: a port's protocol.
        fits = [name for name, ident in left.items() if all(item.get(k, v) == v for k, v in ident.items())]
        if len(fits) != 1:
            return False
        identity = left.pop(fits[0])
        found = [at for at, one in enumerate(live) if isinstance(one, Mapping) and identity.items() <= one.items()]
        if len(found) != 1:
            return False
        there = live[found[0]]
        same = _same_map(item, there, fields[fits[0]], key) if fields[fits[0]] else _same_atomic(item, there, key, "")
        if not same:
            return False
        positions.append(found[0])
    return _in_order(positions)


def _same_atomic(wanted: Any, live: Any, key: str, parent: str) -> bool:
    """Values that have one owner as a whole."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        if key == "limits" and wanted.get("type") == "Container":
            wanted = _with_limits(wanted)
        return all(
            _same_atomic(wanted[name], live.get(name), name, key)
            if name in wanted
            else (key, name) in _ATOMIC_DEFAULTS and live[name] == _ATOMIC_DEFAULTS[key, name]
            for name in {*wanted, *live}
        )
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(live) and all(
            _same_atomic(one, other, key, parent) for one, other in zip(wanted, live, strict=True)
        )
    if wanted in ({}, []):
        return live is None
    return _same_scalar(wanted, live, key, parent)


def _with_limits(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """An item of a LimitRange as the server keeps it: limits default to the maximum, requests to limit or minimum."""
    default = {**(item.get("max") or {}), **(item.get("default") or {})}
    request = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
    return {**item, **({"default": default} if default else {}), **({"defaultRequest": request} if request else {})}


def _same_scalar(wanted: Any, live: Any, key: str, parent: str) -> bool:
    if isinstance(wanted, bool) or isinstance(live, bool):
        return wanted is live
    if wanted == live:
        return True
    if parent in _QUANTITY_MAPS or key in _QUANTITY_KEYS:
        return parse_quantity(wanted) is not None and parse_quantity(wanted) == parse_quantity(live)
    return False


Change = dict[str, Any]


def meaningful(obj: Mapping[str, Any] | None) -> dict[str, Any]:
    """What people declare of an object: without status and without what the server keeps in its metadata."""
    if obj is None:
        return {}
    kept = {key: copy.deepcopy(value) for key, value in obj.items() if key != "status"}
    metadata = {key: value for key, value in kept["metadata"].items() if key not in _SERVER_METADATA}
    annotations = {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if k != _CLIENT_APPLY}
    if annotations:
        metadata["annotations"] = annotations
    return {**kept, "metadata": metadata}


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Each field that differs, as {path, before, after}; what is not there is None."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            label = f".{key}" if str(key).replace("_", "a").isalnum() else f"['{key}']"
            yield from changes(before.get(key), after.get(key), path + label)
    elif isinstance(before, list) and isinstance(after, list) and _named(before) and _named(after):
        old, new = ({item["name"]: item for item in items} for items in (before, after))
        for name in [*old, *(name for name in new if name not in old)]:
            yield from changes(old.get(name), new.get(name), f"{path}[name={name}]")
        if list(old) != list(new) and set(old) == set(new):
            yield {"path": path, "before": list(old), "after": list(new)}
    elif before != after:
        yield {"path": path.lstrip("."), "before": before, "after": after}


def _named(items: list[Any]) -> bool:
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    return None not in names and len(set(names)) == len(names)
