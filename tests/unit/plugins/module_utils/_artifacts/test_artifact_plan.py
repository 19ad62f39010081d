# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, order and the choice of what to build, from catalogues as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.keys import artifact_key
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.model import (
    Artifact,
    parse_catalogue,
)
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.plan import (
    Plan,
    make_plan,
    ordered,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

CATALOGUE: list[dict[str, Any]] = [
    {"name": "app", "kind": "image", "source": "/src/app", "base": "base"},
    {
        "name": "server",
        "kind": "image",
        "source": "/src/server",
        "binaries": ["commands/server", "commands/client"],
        "tag": "{version}",
        "version_of": "commands",
    },
    {
        "name": "commands",
        "kind": "go",
        "source": "/src/go",
        "module": "example.org/x",
        "binaries": ["server"],
    },
    {"name": "base", "kind": "base", "suite": "bookworm", "packages": ["tzdata", "catatonit"]},
]


def plan(
    *,
    names: tuple[str, ...] = ("app", "server"),
    cached: tuple[str, ...] = (),
    files: Mapping[str, Mapping[str, str]] | None = None,
    catalogue: list[dict[str, Any]] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Plan:
    return make_plan(
        parse_catalogue(catalogue or CATALOGUE),
        names,
        repository="localhost/x",
        digests=lambda a: (files or {}).get(a.name, {}),
        version=lambda a: "v1.2.3" if a.kind == "go" else "",
        settings=lambda _artifact: settings or {},
        cached=lambda name, _key: name in cached,
    )


def keys(made: Plan) -> dict[str, str]:
    return {step.name: step.key for step in made.steps}


def test_each_comes_after_what_it_is_built_from() -> None:
    assert [s.name for s in plan().steps] == ["base", "app", "commands", "server"]


def test_only_what_is_wanted_and_what_that_needs() -> None:
    assert [s.name for s in plan(names=("server",)).steps] == ["commands", "server"]


def test_everything_missing_is_built() -> None:
    assert plan().build == ("base", "app", "commands", "server")


def test_nothing_is_built_that_only_cached_artifacts_need() -> None:
    assert plan(cached=("app", "server")).build == ()
    assert plan(cached=("app",)).build == ("commands", "server")
    assert plan(cached=("base", "commands")).build == ("app", "server")


def test_a_version_is_the_tag_and_otherwise_the_key_is() -> None:
    made = plan()
    assert made["server"].reference == "localhost/x/server:v1.2.3"
    assert made["app"].reference == f"localhost/x/app:{made['app'].key[:12]}"
    assert made["commands"].reference == ""


def test_keys_are_the_same_for_the_same_inputs_wherever_they_lie() -> None:
    moved = [{**entry, "source": "/elsewhere"} if "source" in entry else entry for entry in CATALOGUE]
    assert keys(plan()) == keys(plan(catalogue=moved))


def test_the_order_of_packages_is_no_input() -> None:
    turned = [{**e, "packages": ["catatonit", "tzdata"]} if e["name"] == "base" else e for e in CATALOGUE]
    assert keys(plan()) == keys(plan(catalogue=turned))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("commands", {"commands", "server"}),
        ("base", {"base", "app"}),
        ("app", {"app"}),
    ],
)
def test_a_changed_file_changes_the_keys_of_what_is_built_from_it(changed: str, expected: set[str]) -> None:
    before, after = keys(plan()), keys(plan(files={changed: {"a": "-:1"}}))
    assert {name for name, key in after.items() if key != before[name]} == expected


@pytest.mark.parametrize(
    "change",
    [
        {"name": "commands", "ldflags": ["-s"]},
        {"name": "commands", "rename": {"a": "b"}},
        {"name": "base", "packages": ["tzdata"]},
        {"name": "base", "refresh": "today"},
        {"name": "base", "suite": "trixie"},
        {"name": "app", "arguments": {"A": "b"}},
    ],
)
def test_every_setting_is_an_input(change: dict[str, Any]) -> None:
    catalogue = [{**entry, **change} if entry["name"] == change["name"] else entry for entry in CATALOGUE]
    name = change["name"]
    assert keys(plan())[name] != keys(plan(catalogue=catalogue))[name]


def test_the_toolchain_is_an_input() -> None:
    assert keys(plan(settings={"go": "1.26.1"})) != keys(plan(settings={"go": "1.26.2"}))


def test_a_file_that_moves_or_becomes_executable_is_another_input() -> None:
    artifact = parse_catalogue(CATALOGUE)["commands"]

    def key(digests: Mapping[str, str]) -> str:
        return artifact_key(artifact, digests=digests, parents={}, settings={})

    assert len({key({"a": "-:1"}), key({"b": "-:1"}), key({"a": "x:1"}), key({"a": "-:2"})}) == 4


def test_a_circle_is_refused_with_its_members() -> None:
    catalogue = parse_catalogue(
        [
            {"name": "a", "kind": "image", "source": "/a", "base": "b"},
            {"name": "b", "kind": "image", "source": "/b", "base": "a"},
        ]
    )
    with pytest.raises(CeleryOpsError, match="a -> b -> a"):
        ordered(catalogue, ["a"])


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CeleryOpsError, match=r"unknown artifact nix.*app, base, commands, server"):
        plan(names=("nix",))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "x", "kind": "image"}, "`source` is missing"),
        ({"name": "x", "kind": "tar"}, "unknown kind"),
        ({"name": "x", "kind": "image", "source": "/x", "sourc": "/y"}, "unknown field"),
        ({"name": "x", "kind": "image", "source": "/x", "suite": "bookworm"}, "unknown field"),
        ({"name": "x", "kind": "image", "source": "/x", "binaries": "a/b"}, "not a list"),
        ({"name": "x", "kind": "image", "source": "/x", "arguments": ["a"]}, "not a dictionary"),
        ({"name": "app", "kind": "image", "source": "/x"}, "declared twice"),
    ],
)
def test_a_wrong_entry_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(CeleryOpsError, match=message):
        parse_catalogue([*CATALOGUE, entry])


def test_needs_are_named_once() -> None:
    server: Artifact = parse_catalogue(CATALOGUE)["server"]
    assert server.needs == ("commands",)
