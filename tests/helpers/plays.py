# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays on localhost that tests write and run, reading their output while they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .modules import ROOT

__all__ = ["Play", "other_interpreter", "play", "run_roles"]


class Play:
    """A playbook that runs. `results` are those that its tasks have registered, by their names, once it has ended."""

    def __init__(self, process: subprocess.Popen[str], record: Path) -> None:
        self.process = process
        self._record = record
        self.output: list[str] = []

    def lines(self) -> Iterator[str]:
        """The lines of output, each when it comes."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))
            yield self.output[-1]

    def end(self) -> None:
        """Reads what is left and waits for the end."""
        for _line in self.lines():
            continue
        self.process.wait()

    @property
    def results(self) -> dict[str, Any]:
        assert self._record.exists(), "\n".join(self.output)
        found: dict[str, Any] = json.loads(self._record.read_text(encoding="utf-8"))
        return found

    def progress(self) -> list[str]:
        """What was shown of progress so far, without the mark in front."""
        mark = "progress: [localhost] => "
        return [line.removeprefix(mark) for line in self.output if line.startswith(mark)]


def other_interpreter(folder: Path) -> str:
    """The same Python at another place, which Ansible cannot know to be the same."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="ascii")
    path.chmod(0o700)
    return str(path)


@contextmanager
def play(
    folder: Path,
    tasks: list[dict[str, Any]],
    *options: str,
    defaults: dict[str, Any] | None = None,
    results: Iterable[str] = (),
    interpreter: str = sys.executable,
    **keywords: Any,
) -> Iterator[Play]:
    """Runs tasks on localhost, `defaults` being the options of the action group `kube`, `keywords` the play's.

    Modules that can, work in Ansible's own process, unless `interpreter` names another (`other_interpreter`). What the
    tasks register are the play's results, and `results` names those that are registered elsewhere.
    """
    registered = [*results, *(task["register"] for task in tasks if "register" in task)]
    record = folder / "results.json"
    content = "{{ {" + ", ".join(f"'{name}': {name}" for name in registered) + "} | to_json }}"
    tasks = [
        *tasks,
        {"ansible.builtin.copy": {"content": content, "dest": str(record), "mode": "0600"}, "check_mode": False},
    ]
    book = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/celeryops.platform.kube": defaults or {}},
        "tasks": tasks,
        **keywords,
    }
    (folder / "play.yml").write_text(yaml.safe_dump([book]), encoding="utf-8")
    process = subprocess.Popen(
        [
            "ansible-playbook",
            *("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={interpreter}"),
            *options,
            str(folder / "play.yml"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    try:
        yield Play(process, record)
    finally:
        process.terminate()
        process.wait()


def run_roles(folder: Path, roles: list[str], given: dict[str, Any], *options: str) -> tuple[int, dict[str, int], str]:
    """Runs roles on the cluster of KUBECONFIG to their end; the exit status, the play's counts, and the output."""
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "module_defaults": {"group/celeryops.platform.kube": {"kubeconfig": os.environ["KUBECONFIG"]}},
        "roles": roles,
    }
    playbook = folder / "play.json"
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(given), *options, str(playbook)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    recap = next((line for line in done.stdout.splitlines() if line.startswith("localhost ")), "")
    counts = {key: int(value) for key, value in (word.split("=") for word in recap.split() if "=" in word)}
    return done.returncode, counts, done.stdout + done.stderr
