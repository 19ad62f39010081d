# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in Ansible's own process and in a module's: nothing but the time it takes may tell one from the other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.apiserver import ApiServer
from helpers.manifests import config_map
from helpers.plays import other_interpreter, play

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

pytestmark = pytest.mark.slow

COLLECTION = "celeryops.platform"
MODULE = f"{COLLECTION}.manifests"
SECRET = f"{COLLECTION}.generated_secret"
Json = dict[str, Any]


def tasks(namespace: str, server: ApiServer) -> list[Json]:
    wanted = config_map(namespace)
    changed = {**wanted, "data": {"a": "n{{ 40 + 2 }}", "b": "{{ playbook_dir }}"}}
    unknown = {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}}
    return [
        {MODULE: {"definitions": [wanted]}, "register": "planned", "check_mode": True, "diff": True},
        {MODULE: {"definitions": [wanted]}, "register": "made"},
        {MODULE: {"definitions": [wanted], "wait": "no", "wait_timeout": "5"}, "register": "again"},
        {MODULE: {"definitions": [changed]}, "register": "changed", "diff": True},
        {MODULE: {"definitions": [unknown]}, "register": "unknown", "ignore_errors": True},
        {MODULE: {"definitions": [wanted], "colour": "red"}, "register": "refused", "ignore_errors": True},
        {MODULE: {"namespace": namespace}, "register": "nothing", "ignore_errors": True},
        # The environment of a task is for this task only.
        {
            MODULE: {"definitions": [wanted], "state": "absent", "kubeconfig": "{{ omit }}"},
            "environment": {"KUBECONFIG": str(server.kubeconfig)},
            "register": "removed",
        },
        {
            MODULE: {"definitions": [wanted], "kubeconfig": "{{ omit }}"},
            "environment": {"KUBECONFIG": "/nonexistent"},
            "register": "lost",
            "ignore_errors": True,
        },
    ]


def outcome(folder: Path, wanted: list[Json], server: ApiServer, interpreter: str) -> tuple[Json, int]:
    """The results of the tasks, and how many commands Ansible started for them."""
    options = {"kubeconfig": str(server.kubeconfig)}
    with play(folder, wanted, "-vvv", defaults=options, interpreter=interpreter) as running:
        running.end()
    assert running.process.returncode == 0, "\n".join(running.output)
    copied = next(number for number, line in enumerate(running.output) if line.startswith("TASK [ansible.builtin.copy"))
    started = sum(" EXEC " in line for line in running.output[:copied])
    return running.results, started


def test_both_ways_come_to_the_same(api: Api, api_server: ApiServer, namespace: str, tmp_path: Path) -> None:
    wanted = tasks(namespace, api_server)
    inline, few = outcome(tmp_path, wanted, api_server, sys.executable)
    assert api.get(ObjectRef.of(config_map(namespace))) is None
    apart, many = outcome(tmp_path, wanted, api_server, other_interpreter(tmp_path))
    assert [inline[name]["changed"] for name in ("planned", "made", "again", "changed", "removed")] == [
        True,
        True,
        False,
        True,
        True,
    ]
    for result in ("unknown", "lost"):
        assert inline[result]["error"]["remedy"]
    assert "colour" in inline["refused"]["msg"]
    assert inline == apart
    # Only what a module refuses is left to it.
    assert 0 < few < many / 3


def other_modules(namespace: str) -> list[Json]:
    """What routing brings into Ansible's process: results, failures with and without details, warnings, refusals."""
    secret = {"namespace": namespace, "secrets": [{"name": "keys", "data": {"key": {"length": 40}}}]}
    longer = {"namespace": namespace, "secrets": [{"name": "keys", "data": {"key": {"length": 60, "min_length": 50}}}]}
    migrations = {"namespace": f"{namespace}-none", "image": "example.com/none:1", "app": "config"}
    return [
        {SECRET: secret, "register": "planned", "check_mode": True, "diff": True},
        {SECRET: secret, "register": "made"},
        {SECRET: secret, "register": "again", "loop": [1, 2]},
        {SECRET: longer, "register": "short", "ignore_errors": True},
        {SECRET: {**secret, "colour": "red"}, "register": "refused", "ignore_errors": True},
        {SECRET: {**secret, "kubeconfig": "/nonexistent"}, "register": "lost", "ignore_errors": True},
        {f"{COLLECTION}.beat_migrations": migrations, "register": "told", "check_mode": True},
    ]


def test_modules_that_are_routed_come_to_the_same(
    api: Api, api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    wanted = other_modules(namespace)
    inline, few = outcome(tmp_path, wanted, api_server, sys.executable)
    api.delete(ObjectRef("v1", "Secret", "keys", namespace))
    apart, many = outcome(tmp_path, wanted, api_server, other_interpreter(tmp_path))
    assert [inline[name]["changed"] for name in ("planned", "made", "again")] == [True, True, False]
    assert inline["short"]["failed"] and "50" in inline["short"]["msg"]
    assert "colour" in inline["refused"]["msg"]
    assert "cannot be told" in inline["told"]["warnings"][0]
    assert inline == apart
    assert 0 < few < many / 3
