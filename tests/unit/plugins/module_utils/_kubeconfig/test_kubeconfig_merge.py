# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contexts put into kubeconfigs and taken out of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kubeconfig.merge import absent, present, single

K3S: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {},
    "current-context": "default",
    "clusters": [
        {"name": "default", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Q0E="}}
    ],
    "users": [{"name": "default", "user": {"client-certificate-data": "Q0U=", "client-key-data": "S0U="}}],
    "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
}
ADDED = single(K3S, name="shop", server="https://10.0.0.1:6443", namespace="")


def config(*names: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}"}} for name in names],
        "users": [{"name": name, "user": {"token": name}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": names[0] if names else "",
        "extensions": [{"name": "kept"}],
    }


def test_the_current_context_gets_its_name_and_address() -> None:
    assert ADDED["clusters"] == [
        {"name": "shop", "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority-data": "Q0E="}}
    ]
    assert ADDED["users"][0]["user"] == K3S["users"][0]["user"]
    assert ADDED["contexts"] == [{"name": "shop", "context": {"cluster": "shop", "user": "shop"}}]
    named = single(K3S, name="shop", server="", namespace="jewelry-shop")
    assert named["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert named["contexts"][0]["context"]["namespace"] == "jewelry-shop"


@given(st.lists(st.text(min_size=1).filter(lambda name: name != "shop"), unique=True))
def test_others_are_left_alone(names: list[str]) -> None:
    before = config(*names)
    after = present(before, ADDED, name="shop", current="never", path="x")
    for key in ("clusters", "users", "contexts"):
        assert after[key][: len(names)] == before[key]
        assert after[key][len(names) :] == ADDED[key]
    assert after["current-context"] == before["current-context"]
    assert after["extensions"] == before["extensions"]
    assert present(after, ADDED, name="shop", current="unset", path="x")["clusters"] == after["clusters"]
    assert absent(after, name="shop", path="x") == before


def test_an_older_entry_is_replaced_in_its_place() -> None:
    before = config("a", "shop", "b")
    after = present(before, ADDED, name="shop", current="never", path="x")
    assert [one["name"] for one in after["clusters"]] == ["a", "shop", "b"]
    assert after["clusters"][1] == ADDED["clusters"][0]


@pytest.mark.parametrize(
    ("before", "current", "expected"),
    [("", "unset", "shop"), ("a", "unset", "a"), ("a", "always", "shop"), ("", "never", "")],
)
def test_who_becomes_current(before: str, current: str, expected: str) -> None:
    given_config = {**config("a"), "current-context": before}
    assert present(given_config, ADDED, name="shop", current=current, path="x")["current-context"] == expected


def test_no_file_yet_and_one_that_is_no_longer() -> None:
    made = present(None, ADDED, name="shop", current="unset", path="x")
    assert (made["apiVersion"], made["kind"], made["current-context"]) == ("v1", "Config", "shop")
    assert absent(None, name="shop", path="x") == {}
    assert absent(made, name="shop", path="x")["current-context"] == ""


@pytest.mark.parametrize("state", ["present", "absent"])
def test_an_entry_that_another_context_uses_is_not_touched(state: str) -> None:
    before = config("shop", "other")
    before["contexts"][1]["context"]["cluster"] = "shop"
    with pytest.raises(CeleryOpsError, match="context other"):
        if state == "present":
            present(before, ADDED, name="shop", current="never", path="x")
        else:
            absent(before, name="shop", path="x")


@pytest.mark.parametrize("bad", [[], "text", {"clusters": "none"}, {"users": [{"user": {}}]}, {"contexts": ["a"]}])
def test_what_is_no_kubeconfig_is_left_alone(bad: Any) -> None:
    with pytest.raises(CeleryOpsError, match="is no kubeconfig"):
        present(bad or ["x"], ADDED, name="shop", current="never", path="x")


@pytest.mark.parametrize("key", ["current-context", "clusters", "users", "contexts"])
def test_a_source_that_is_not_whole(key: str) -> None:
    with pytest.raises(CeleryOpsError, match="no complete current context"):
        single({name: value for name, value in K3S.items() if name != key}, name="shop", server="", namespace="")
