# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What k3s is told: command line over environment over configuration files. Nothing undocumented is taken."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

__all__ = ["COMMANDS", "TABLE", "Options", "UsageError", "merge_files", "parse", "read_files"]

TABLE: Mapping[str, Any] = json.loads((resources.files(__package__) / "flags.json").read_text())
# Which groups of flags.json a command takes; servers also run an agent.
COMMANDS = {
    "server": ("common", "node", "server"),
    "agent": ("common", "node", "agent"),
    "etcd-snapshot": ("common", "etcd-snapshot"),
}
_DEFAULT_CONFIG = "/etc/rancher/k3s/config.yaml"
_TRUE, _FALSE = frozenset(("1", "t", "true")), frozenset(("0", "f", "false"))


class UsageError(Exception):
    """What k3s would refuse, in its words where it has any."""


@dataclass(frozen=True)
class Options:
    """The settings of one command: text, bool or list of texts by the flag's long name, and the arguments."""

    command: str
    values: Mapping[str, Any]
    arguments: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name, TABLE["defaults"].get(name, _EMPTY[_kinds(self.command)[name]]))

    def without_effect(self) -> list[str]:
        """Flags that were given, that k3s knows, and that change nothing here."""
        return sorted(name for name in self.values if name not in TABLE["modelled"])

    @property
    def data(self) -> Path:
        return Path(self["data-dir"])


_EMPTY: Mapping[str, Any] = {"bool": False, "value": "", "list": []}


def _kinds(command: str) -> dict[str, str]:
    groups = (TABLE[group] for group in COMMANDS[command])
    return {name: kind for group in groups for kind in ("bool", "value", "list") for name in group[kind]}


def _long(command: str, name: str) -> str:
    aliases = TABLE[command].get("aliases", {})
    return str(aliases.get(name) or (TABLE["short"].get(name, name) if len(name) == 1 else name))


def merge_files(files: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """k3s's rule: the last file wins; ``key+`` appends, and from then on a key without ``+`` replaces again."""
    merged: dict[str, Any] = {}
    for path, content in files:
        if content is None:
            continue
        if not isinstance(content, dict):
            raise UsageError(f"failed to parse {path}: expected a mapping, found {type(content).__name__}")
        for key, value in content.items():
            name = str(key)
            if not name.endswith("+"):
                merged[name] = value
                continue
            name = name[:-1]
            before = merged.get(name)
            if before is None:
                merged[name] = value
            elif isinstance(before, list) or isinstance(value, list):
                merged[name] = _list(before) + _list(value)
            else:
                merged[name] = f"{_text(before)},{_text(value)}"
    return merged


def read_files(path: str, *, required: bool) -> dict[str, Any]:
    """The configuration file and the ``*.yaml`` beside it in ``<file>.d``, in alphabetical order."""
    main = Path(path)
    if required and not main.exists():
        raise UsageError(f"failed to read config file: open {path}: no such file or directory")
    paths = ([main] if main.exists() else []) + sorted(Path(f"{path}.d").glob("*.yaml"))
    try:
        return merge_files([(str(each), yaml.safe_load(each.read_text())) for each in paths])
    except yaml.YAMLError as error:
        raise UsageError(f"failed to parse {path}: {error}") from error


def parse(command: str, argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Settings of `command` from all three sources. Raises UsageError for whatever k3s does not document."""
    kinds = _kinds(command)
    given, arguments = _command_line(command, argv, kinds)
    from_environment = _environment(command, environment, kinds)
    named = given.get("config") or from_environment.get("config")
    configured: dict[str, Any] = {}
    for key, value in read_files(named or _DEFAULT_CONFIG, required=named is not None).items():
        name = _long(command, key)
        if name in kinds:
            configured[name] = _value(name, kinds[name], value)
        elif command != "etcd-snapshot" or name not in _kinds("server"):
            raise UsageError(f"flag provided but not defined: -{key} (Unknown flag --{key} found in config.yaml)")
    values = {**configured, **from_environment, **given}
    _check(command, values)
    return Options(command, values, tuple(arguments))


def _command_line(command: str, argv: Sequence[str], kinds: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    given: dict[str, Any] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "--":
        flag, has_value, value = rest.pop(0).partition("=")
        name = _long(command, flag.lstrip("-"))
        if name not in kinds or flag.startswith("---"):
            raise UsageError(f"flag provided but not defined: -{flag.lstrip('-')}")
        if kinds[name] != "bool" and not has_value:
            if not rest:
                raise UsageError(f"flag needs an argument: -{flag.lstrip('-')}")
            value = rest.pop(0)
        elif not has_value:
            value = "true"
        if kinds[name] == "list":
            given.setdefault(name, []).extend(_value(name, "list", value))
        else:
            given[name] = _value(name, kinds[name], value)
    if rest and command != "etcd-snapshot":
        raise UsageError(f"unexpected argument: {rest[0]}")
    return given, rest


def _environment(command: str, environment: Mapping[str, str], kinds: Mapping[str, str]) -> dict[str, Any]:
    known: Mapping[str, str] = TABLE["environment"]
    unknown = sorted(name for name in environment if name.startswith("K3S_") and name not in known)
    if unknown:
        raise UsageError(f"environment variable not documented by k3s: {', '.join(unknown)}")
    return {
        flag: _value(flag, kinds[flag], environment[name])
        for name, flag in known.items()
        if environment.get(name) and flag in kinds
    }


def _check(command: str, values: Mapping[str, Any]) -> None:
    for name, allowed in TABLE["choices"].items():
        if name in values and values[name] not in allowed:
            raise UsageError(f"invalid {name} {values[name]!r}: one of {', '.join(allowed)}")
    unknown = sorted(set(values.get("disable", [])) - set(TABLE["disable"]))
    if unknown:
        raise UsageError(f"invalid value {', '.join(unknown)} for --disable: one of {', '.join(TABLE['disable'])}")
    refused = sorted(name for name in values if name in TABLE["refused"] and values[name])
    if refused:
        raise UsageError(f"known to k3s but not to this stand-in, which would only pretend: {', '.join(refused)}")
    if values.get("cluster-reset-restore-path") and not values.get("cluster-reset"):
        raise UsageError("invalid flag use; --cluster-reset required with --cluster-reset-restore-path")
    if command == "agent":
        if not values.get("server"):
            raise UsageError("--server is required")
        if not values.get("token") and not values.get("token-file"):
            raise UsageError("--token is required")


def _value(name: str, kind: str, value: Any) -> Any:
    if kind == "bool":
        text = _text(value).lower()
        if text not in _TRUE | _FALSE:
            raise UsageError(f'invalid boolean value "{value}" for -{name}: parse error')
        return text in _TRUE
    if kind == "list":
        items = _list(value)
        return [part for item in items for part in item.split(",")] if name in TABLE["split"] else items
    if isinstance(value, (list, dict)):
        raise UsageError(f"invalid value for -{name}: expected one value, found {type(value).__name__}")
    return _text(value)


def _list(value: Any) -> list[str]:
    return [_text(item) for item in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
