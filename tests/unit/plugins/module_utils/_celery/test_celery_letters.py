# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which dead letters are meant, what is asked of a worker, and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._celery.letters import (
    change,
    chosen,
    shown,
)


def letter(number: int, task: str = "shop.report") -> dict[str, Any]:
    return {"id": f"id-{number}", "tag": f"tag-{number}", "task": task, "queue": "reports", "buried": "2026-03-01"}


LETTERS = [letter(1), letter(2), letter(3, "shop.mail")]


class Worker:
    """A broker with three letters; ``quicker`` are moved by somebody else just before."""

    def __init__(self, quicker: Sequence[str] = ()) -> None:
        self.letters = list(LETTERS)
        self.quicker = quicker
        self.asked: list[tuple[str, list[str]]] = []

    def __call__(self, do: str, tags: Sequence[str], arguments: bool) -> dict[str, Any]:
        assert arguments is False
        self.asked.append((do, list(tags)))
        if do != "list":
            self.letters = [one for one in self.letters if one["tag"] not in tags]
        return {"letters": self.letters, "moved": [tag for tag in tags if tag not in self.quicker]}


@pytest.mark.parametrize(
    ("ids", "everything", "task", "found"),
    [
        ((), True, None, [1, 2, 3]),
        (("id-2", "id-9"), False, None, [2]),
        ((), True, "shop.mail", [3]),
        (("id-1",), False, "shop.mail", []),
        ((), False, None, []),
    ],
)
def test_chosen(ids: Sequence[str], everything: bool, task: str | None, found: list[int]) -> None:
    assert [one["id"] for one in chosen(LETTERS, ids, everything, task)] == [f"id-{number}" for number in found]


@pytest.mark.parametrize(("state", "verb"), [("requeued", "requeue"), ("purged", "purge")])
def test_each_state_is_asked_for_once(state: str, verb: str) -> None:
    worker, result = Worker(), {}
    change({"state": state, "ids": ["id-1"], "all": False, "task": None}, result, worker, check_mode=False)
    assert worker.asked == [("list", []), (verb, ["tag-1"])]
    assert (result["changed"], result["left"]) == (True, 2)
    assert result["diff"]["before"].count("\n") == 3
    assert "id-1" not in result["diff"]["after"]


def test_check_mode_moves_nothing() -> None:
    worker, result = Worker(), {}
    change({"state": "purged", "ids": None, "all": True, "task": None}, result, worker, check_mode=True)
    assert worker.asked == [("list", [])]
    assert (result["changed"], result["left"], len(result["letters"])) == (True, 0, 3)


def test_nothing_meant_changes_nothing() -> None:
    worker, result = Worker(), {}
    change({"state": "purged", "ids": ["id-9"], "all": False, "task": None}, result, worker, check_mode=False)
    assert worker.asked == [("list", [])]
    assert (result["changed"], result["letters"], result["left"]) == (False, [], 3)


def test_somebody_else_was_quicker() -> None:
    worker, result = Worker(quicker=["tag-1", "tag-2", "tag-3"]), {}
    change({"state": "requeued", "ids": None, "all": True, "task": None}, result, worker, check_mode=False)
    assert (result["changed"], result["letters"]) == (False, [])


def test_arguments_are_told_only_when_asked_for() -> None:
    whole = {**letter(1), "args": ["secret"], "kwargs": {"token": "secret"}}
    assert "secret" not in str(shown(whole, False))
    assert shown(whole, True) == whole
