# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines of k3d 5 and of Docker, or of what answers like it, as the plan needs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._k3d import config
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.model import Declared, Observed, observed
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.plan import Action

__all__ = ["K3d"]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SILENT = ("Cannot connect to the Docker daemon", "permission denied", "failed to connect to the docker API")
_SOURCES = {
    "k3d": "install k3d 5 (https://k3d.io), or name it with the option `k3d`",
    "docker": "install Docker and its client, or name the client with the option `docker`",
}


class K3d:
    """Reads what is there, and takes one action at a time. Steps that wait end after `timeout` seconds."""

    def __init__(self, k3d: str = "k3d", docker: str = "docker", timeout: int = 300) -> None:
        self._programs = {"k3d": k3d, "docker": docker}
        self._timeout = timeout

    def observe(self, name: str) -> Observed | None:
        clusters = self.json("k3d", "cluster", "list", "--output", "json")
        listed = next((cluster for cluster in clusters if cluster.get("name") == name), None)
        if listed is None:
            return None
        names = [str(node["name"]) for node in listed.get("nodes") or [] if node["role"] in ("server", "agent")]
        containers = self.json("docker", "inspect", *names) if names else []
        registries = self.json("k3d", "registry", "list", "--output", "json")
        return observed(name, clusters, {str(one["Name"]).lstrip("/"): one for one in containers}, registries)

    def apply(self, action: Action, declared: Declared) -> None:
        name = declared.name
        wait = ("--wait", "--timeout", f"{self._timeout}s")
        if (action.verb, action.kind) == ("create", "cluster"):
            self._create(declared)
        elif action.verb == "delete":
            self.run("k3d", "cluster", "delete", name)
        elif action.kind == "registry":
            self.run("k3d", "node", "start", action.name)
        elif action.verb == "start":
            self.run("k3d", "cluster", "start", name, *wait)
        elif action.kind == "port":
            self.run("k3d", "cluster", "edit", name, "--port-add", action.name)
        else:
            arguments = [part for argument in action.args for part in ("--k3s-arg", argument)]
            image = ("--image", declared.image) if declared.image else ()
            own = ("--cluster", name, "--role", action.kind, *image, *arguments)
            self.run("k3d", "node", "create", action.name, *own, *wait)

    def _create(self, declared: Declared) -> None:
        # k3d keeps a copy of the file in the directory for temporary files.
        with tempfile.TemporaryDirectory(prefix="celeryops-k3d-") as folder:
            path = Path(folder, "cluster.yaml")
            path.touch(mode=0o600)
            path.write_text(config.text(declared, self._timeout), encoding="utf-8")
            self.run("k3d", "cluster", "create", "--config", str(path), folder=folder)

    def json(self, program: str, *arguments: str) -> list[dict[str, Any]]:
        """The list that `k3d` or `docker` prints as JSON."""
        said = self.run(program, *arguments)
        try:
            found = json.loads(said or "[]")
        except ValueError as error:
            raise CeleryOpsError(
                f"`{program} {' '.join(arguments[:2])}` did not answer in JSON",
                expected="the output of k3d 5",
                found=said[:200],
                remedy=f"see `{self._programs[program]} version`",
            ) from error
        return [dict(entry) for entry in found or []]

    def run(self, program: str, *arguments: str, folder: str | None = None) -> str:
        """Runs `k3d` or `docker` to its end; its standard output. A failure is an error with what it said."""
        argv = [self._programs[program], *arguments]
        shown = f"{program} {' '.join(arguments[:2])}"
        try:
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                argv,
                capture_output=True,
                text=True,
                # k3d rolls back what it could not finish in time; that takes a while too.
                timeout=self._timeout + 120,
                check=False,
                env={**os.environ, **({"TMPDIR": folder} if folder else {})},
            )
        except FileNotFoundError as error:
            raise CeleryOpsError(
                f"{program} is not installed",
                expected=f"the program {argv[0]}",
                found="no such file",
                remedy=_SOURCES[program],
            ) from error
        except subprocess.TimeoutExpired as error:
            raise CeleryOpsError(
                f"`{shown}` did not end",
                expected=f"an end within {self._timeout + 120} s",
                found="none",
                remedy="see `docker ps --all` and the load of this machine, or raise the option `timeout`",
            ) from error
        if done.returncode != 0:
            raise _failure(shown, done)
        return done.stdout


def _failure(shown: str, done: subprocess.CompletedProcess[str]) -> CeleryOpsError:
    lines = _COLOUR.sub("", done.stderr or done.stdout).strip().splitlines()
    telling = [line for line in lines if line.startswith(("FATA", "ERRO"))] or lines[-3:]
    said = "\n".join(telling[-5:])
    if any(sign in said for sign in _SILENT):
        return CeleryOpsError(
            "Docker does not answer",
            expected="a Docker that runs and that this user may use",
            found=said,
            remedy="start it (systemctl start docker), join the group docker, or point DOCKER_HOST at it",
        )
    return CeleryOpsError(
        f"`{shown}` failed",
        expected="exit code 0",
        found=f"exit code {done.returncode}: {said}",
        remedy="the message is the tool's own; `docker ps --all` shows the containers that are there",
    )
