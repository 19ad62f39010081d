# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One context of a kubeconfig, put in or taken out without touching the others. No I/O."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["absent", "present", "single"]

Config = dict[str, Any]
_LISTS = {"clusters": "cluster", "users": "user", "contexts": "context"}


def _empty() -> Config:
    return {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}


def _named(config: Mapping[str, Any], key: str, name: str) -> Any:
    return next((one for one in config.get(key) or [] if one.get("name") == name), None)


def _require(config: Any, where: str) -> None:
    """Fails unless this has a kubeconfig's shape."""
    good = isinstance(config, Mapping) and all(
        isinstance(config.get(key) or [], list)
        and all(isinstance(one, Mapping) and one.get("name") for one in config.get(key) or [])
        for key in _LISTS
    )
    if not good:
        raise CeleryOpsError(
            f"{where} is no kubeconfig",
            expected="a mapping with lists of named clusters, users and contexts",
            found=type(config).__name__ if not isinstance(config, Mapping) else "entries without a name, or no lists",
            remedy="correct or move the file; it was left as it is",
        )


def single(source: Any, *, name: str, server: str, namespace: str) -> Config:
    """The current context of ``source``, its three entries named ``name``, with another server address if given."""
    _require(source, "What was given")
    current = source.get("current-context") or ""
    context = _named(source, "contexts", current)
    parts = (context or {}).get("context") or {}
    cluster = _named(source, "clusters", parts.get("cluster", ""))
    user = _named(source, "users", parts.get("user", ""))
    if context is None or cluster is None or user is None:
        raise CeleryOpsError(
            "What was given has no complete current context",
            expected="a current-context whose cluster and user are there",
            found=f"current-context {current!r}, contexts: {[one['name'] for one in source.get('contexts') or []]}",
            remedy="give the whole kubeconfig that the cluster wrote",
        )
    where = {**cluster["cluster"], **({"server": server} if server else {})}
    kept = {"cluster": name, "user": name}
    inner = namespace or parts.get("namespace", "")
    return {
        "clusters": [{"name": name, "cluster": where}],
        "users": [{"name": name, "user": dict(user["user"])}],
        "contexts": [{"name": name, "context": {**kept, **({"namespace": inner} if inner else {})}}],
    }


def _shared(config: Mapping[str, Any], name: str) -> list[str]:
    """Other contexts that use the cluster or the user of this name."""
    return [
        one["name"]
        for one in config.get("contexts") or []
        if one["name"] != name and name in ((one.get("context") or {}).get(part) for part in ("cluster", "user"))
    ]


def _may_write(config: Any, name: str, path: str) -> None:
    _require(config, path)
    shared = _shared(config, name)
    if shared:
        raise CeleryOpsError(
            f"{path} has a cluster or user named {name} that other contexts use",
            expected=f"nobody but context {name} to use them",
            found=f"context {', '.join(shared)}",
            remedy="give this cluster another name, or rename the entries of the other one",
        )


def present(config: Any, added: Mapping[str, Any], *, name: str, current: str, path: str) -> Config:
    """The kubeconfig with these entries. ``current`` is always, unset (only where there is no current one) or never."""
    result = copy.deepcopy(config) if config else _empty()
    _may_write(result, name, path)
    for key in _LISTS:
        entries = result.get(key) or []
        new = added[key][0]
        old = _named({key: entries}, key, name)
        if old is None:
            entries.append(new)
        elif old != new:
            entries[entries.index(old)] = new
        result[key] = entries
    if current == "always" or (current == "unset" and not result.get("current-context")):
        result["current-context"] = name
    return result


def absent(config: Any, *, name: str, path: str) -> Config:
    """The kubeconfig without these entries."""
    if not config:
        return {}
    result: Config = copy.deepcopy(config)
    _may_write(result, name, path)
    for key in _LISTS:
        result[key] = [one for one in result.get(key) or [] if one["name"] != name]
    if result.get("current-context") == name:
        result["current-context"] = ""
    # Nothing that was not there is added by taking something away.
    for key in ("current-context", *_LISTS):
        if key not in config and not result[key]:
            del result[key]
    return result
