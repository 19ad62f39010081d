# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dead letters are listed, sent again and purged by what the modules run in a worker's container."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from celery_running import Redis
from delivery_running import PODS, Book, Worker, container, send
from helpers.servers import wait_until

from ansible_collections.celeryops.platform.plugins.module_utils._celery.letters import (
    REDACTED,
    Ask,
    change,
    shown,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.worker_pod import ask
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

Fleet = Callable[..., Worker]
ALL: dict[str, Any] = {"ids": None, "all": True, "task": None}


@pytest.fixture
def worker_pod(redis: Redis) -> Ask:
    def asked(do: str, tags: Sequence[str], arguments: bool) -> dict[str, Any]:
        options = {"app": "kept", "do": do, "tags": list(tags), "arguments": arguments}
        return ask(container(redis.url), PODS, "python", "letters", options)

    return asked


@pytest.fixture
def dead(fleet: Fleet, kept: Any, book: Book) -> list[str]:
    """Three dead letters, the ids of their tasks, and nobody that consumes."""
    worker = fleet("first", CELERYOPS_REDELIVERY_LIMIT="0")
    ids = [send(kept, "kill_process", f"secret {number}", priority=number, queue="b") for number in range(3)]
    wait_until(lambda: len(book.dead()) == 3, "three dead letters")
    wait_until(lambda: book.client.scard("celeryops:untold") == 0, "nobody left to tell")
    worker.kill()
    return ids


def run(worker_pod: Ask, check: bool = False, **params: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"changed": False}
    change({**ALL, **params}, result, worker_pod, check_mode=check)
    return result


@pytest.mark.slow
def test_listed_without_and_with_arguments(dead: list[str], worker_pod: Ask) -> None:
    letters = worker_pod("list", (), False)["letters"]
    assert "secret" not in json.dumps(letters)
    assert sorted((letter["id"], letter["queue"], letter["priority"]) for letter in letters) == sorted(
        (task, "b", number) for number, task in enumerate(dead)
    )
    assert {letter["task"] for letter in letters} == {"kept.kill_process"}
    assert all("signal 9" in letter["exception"] and len(letter["history"]) == 1 for letter in letters)
    assert shown(letters[0], False)["args"] == REDACTED
    with_them = worker_pod("list", (), True)["letters"]
    assert sorted(letter["args"][0] for letter in with_them) == ["secret 0", "secret 1", "secret 2"]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["requeued", "purged"])
def test_check_apply_check_apply(dead: list[str], worker_pod: Ask, book: Book, state: str) -> None:
    results = [run(worker_pod, check, state=state, all=False, ids=dead[:2]) for check in (True, False) * 2]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [result["left"] for result in results] == [1, 1, 1, 1]
    assert sorted(letter["id"] for letter in results[1]["letters"]) == sorted(dead[:2])
    assert results[0]["diff"] == results[1]["diff"]
    assert "secret" not in json.dumps(results)
    assert book.queued("b") == (2 if state == "requeued" else 0)
    assert [letter["id"] for letter in book.dead()] == dead[2:]


@pytest.mark.slow
def test_requeued_task_starts_with_a_clean_record(dead: list[str], worker_pod: Ask, fleet: Fleet, book: Book) -> None:
    assert run(worker_pod, state="requeued")["left"] == 0
    assert book.client.llen("b\x06\x162") == 1
    fleet("second", CELERYOPS_REDELIVERY_LIMIT="1")
    wait_until(lambda: len(book.dead()) == 3, "the same three dead letters")
    assert [book.started(task) for task in dead] == [3, 3, 3]
    assert {len(letter["history"]) for letter in book.dead()} == {2}


@pytest.mark.slow
def test_only_letters_of_one_task(dead: list[str], worker_pod: Ask) -> None:
    assert run(worker_pod, state="purged", task="kept.work")["changed"] is False
    assert run(worker_pod, state="purged", task="kept.kill_process")["left"] == 0


def test_application_that_cannot_be_asked(redis: Redis, worker_pod: Ask) -> None:
    redis.stop()
    with pytest.raises(CeleryOpsError, match="could not be asked in pod celery-worker-1"):
        worker_pod("list", (), False)


def test_no_worker_is_ready() -> None:
    with pytest.raises(CeleryOpsError, match="none of 0 pods"):
        ask(lambda call: (0, "", ""), [], "python", "letters", {})
