# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dead letters: listed, chosen, sent again or thrown away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import Call
from ansible_collections.celeryops.platform.plugins.module_utils._celery.worker_pod import ask, pods_of
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import NoClusterError, connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

__all__ = ["REDACTED", "change", "chosen", "converge", "info", "shown"]

Json = dict[str, Any]
# Asks a worker: what to do, with which delivery tags, whether arguments are wanted
Ask = Callable[[str, Sequence[str], bool], Json]

REDACTED = "VALUE_REDACTED"
VERBS = {"requeued": "requeue", "purged": "purge"}


def shown(letter: Json, arguments: bool) -> Json:
    """As a result tells it; arguments may be anything, a password included."""
    if arguments:
        return letter
    return {**letter, "args": REDACTED, "kwargs": REDACTED}


def chosen(letters: Sequence[Json], ids: Sequence[str], everything: bool, task: str | None) -> list[Json]:
    """The letters that are meant: all, or those of the tasks' ids; of one kind of task where one is named."""
    return [
        letter for letter in letters if (everything or letter["id"] in ids) and (task is None or letter["task"] == task)
    ]


def change(params: Mapping[str, Any], result: Json, ask_worker: Ask, *, check_mode: bool) -> None:
    """Fills in ``result``: changed, letters that were meant and are dealt with, left, diff."""
    before = ask_worker("list", (), False)["letters"]
    meant = chosen(before, params["ids"] or (), params["all"], params["task"])
    tags = [letter["tag"] for letter in meant]
    after = [letter for letter in before if letter["tag"] not in tags]
    if meant and not check_mode:
        answer = ask_worker(VERBS[params["state"]], tags, False)
        # Somebody else may have been quicker with some of them.
        meant = [letter for letter in meant if letter["tag"] in answer["moved"]]
        after = answer["letters"]
    result.update(
        changed=bool(meant),
        letters=[shown(letter, False) for letter in meant],
        left=len(after),
        diff={"before": _lines(before), "after": _lines(after)},
    )


def _lines(letters: Sequence[Json]) -> str:
    return "".join(f"{letter['id']} {letter['task']} in {letter['queue']}, {letter['buried']}\n" for letter in letters)


def info(params: Mapping[str, Any], result: Json, *, check_mode: bool) -> None:
    """Fills in ``result``: letters."""
    worker = _worker(params, check_mode)
    found = worker("list", (), params["arguments"])["letters"] if worker else []
    letters = chosen(found, params["ids"] or (), not params["ids"], params["task"])
    result.update(letters=[shown(letter, params["arguments"]) for letter in letters])


def converge(params: Mapping[str, Any], result: Json, *, check_mode: bool) -> None:
    """As :func:`change`, in a worker of the cluster."""
    worker = _worker(params, check_mode)
    if worker:
        change(params, result, worker, check_mode=check_mode)


def _worker(params: Mapping[str, Any], check_mode: bool) -> Ask | None:
    """None where check mode meets a machine that has no cluster yet."""
    try:
        api = connect(params)
    except NoClusterError:
        if check_mode:
            return None
        raise
    pods = pods_of(api, params["namespace"], params["workers"])

    def execute(call: Call) -> tuple[int, str, str]:
        done = exec_in_pod(
            api,
            call.namespace,
            call.pod,
            call.command,
            container=call.container,
            stdin=call.stdin,
            timeout=call.timeout,
        )
        return done.rc, done.stdout, done.stderr

    def asked(do: str, tags: Sequence[str], arguments: bool) -> Json:
        options = {"app": params["app"], "do": do, "tags": list(tags), "arguments": arguments}
        return ask(execute, pods, params["python"], "letters", options)

    return asked
