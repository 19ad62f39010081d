# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of releases, and which upgrades are allowed."""

from __future__ import annotations

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.versions import check_upgrade, parse


def test_versions_are_ordered_as_they_were_released() -> None:
    ordered = ["v1.9.12+k3s1", "v1.33.4-rc2+k3s1", "v1.33.4+k3s1", "v1.33.4+k3s2", "v1.33.10+k3s1", "v1.34.0+k3s1"]
    assert [str(version) for version in sorted(map(parse, reversed(ordered)))] == ordered


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("1.33.4+k3s1", "the leading v"),
        ("v1.33.4", "+k3s1"),
        ("1.33", "channels such as stable move"),
        ("stable", "channels such as stable move"),
        ("v1.33.4+k3s1 ", "channels"),
        ("v1.33.4+rke2r1", "channels"),
    ],
)
def test_what_is_no_release_is_said_so(text: str, remedy: str) -> None:
    with pytest.raises(CeleryOpsError) as caught:
        parse(text)
    assert remedy in str(caught.value.remedy)
    assert caught.value.found == repr(text)


@pytest.mark.parametrize("wanted", ["v1.33.4+k3s1", "v1.33.4+k3s2", "v1.33.9+k3s1", "v1.34.1+k3s1"])
def test_a_patch_or_one_minor_version_up(wanted: str) -> None:
    check_upgrade({"a": "v1.33.4+k3s1", "b": "", "c": wanted}, wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("v1.33.3+k3s1", "runs a newer k3s"),
        ("v1.32.9+k3s1", "runs a newer k3s"),
        ("v1.33.4-rc1+k3s1", "runs a newer k3s"),
        ("v1.35.0+k3s1", "more than one minor version"),
        ("v2.0.0+k3s1", "more than one minor version"),
    ],
)
def test_neither_down_nor_over_a_minor_version(wanted: str, message: str) -> None:
    with pytest.raises(CeleryOpsError, match=message) as caught:
        check_upgrade({"new": "", "old": "v1.33.4+k3s1"}, wanted)
    assert "old" in caught.value.message
