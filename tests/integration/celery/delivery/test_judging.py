# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who of those that were present is held to have killed a worker."""

from __future__ import annotations

from typing import Any

import pytest
from celery_running import FILES

Histories = dict[str, list[dict[str, Any]]]
SUSPECTED = {"killed": False, "beside": 1}
KILLED = {"killed": True, "beside": 0}


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FILES))
    from celeryops_probe import poison

    return poison


@pytest.mark.parametrize(
    ("running", "killers"),
    [
        ({}, []),
        ({"alone": []}, ["alone"]),
        ({"a": [], "b": []}, []),
        ({"a": [SUSPECTED], "b": []}, []),
        ({"a": [SUSPECTED] * 2, "b": [SUSPECTED], "c": []}, ["a"]),
        ({"a": [SUSPECTED] * 2, "b": [SUSPECTED] * 2}, []),
        ({"a": [KILLED] * 2, "b": []}, ["a"]),
    ],
)
def test_judge(poison: Any, running: Histories, killers: list[str]) -> None:
    assert [tag for tag, killed in poison.judge(running).items() if killed] == killers


def test_only_its_own_doing_counts(poison: Any) -> None:
    assert poison.kills([SUSPECTED, KILLED, SUSPECTED, KILLED]) == 2
    assert not poison.is_suspect([SUSPECTED])
    assert poison.is_suspect([SUSPECTED, SUSPECTED])
