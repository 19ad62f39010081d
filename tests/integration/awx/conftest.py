# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that stands in for AWX, and the playbook that makes it what awx/ says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from awx_jobs import checkout
from helpers.awx import awx_collection
from helpers.modules import ROOT
from standins.awx.server import TOKEN, Controller, standin

Apply = Callable[..., dict[str, Any]]
IMAGES = {
    name: f"registry.example.com/shop/{name}:1" for name in ("redis", "haproxy", "postgresql", "pgbouncer", "app")
}
VARIABLES = {"awx_execution_environment_image": "registry.example.com/shop/ee:1", "awx_images": IMAGES}


@pytest.fixture(scope="session")
def collections() -> Path:
    return awx_collection(ROOT / "build")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory.mktemp("project"))


def run_awx(address: str, collections: Path, folder: Path, *options: str, **variables: Any) -> dict[str, Any]:
    """One run of playbooks/awx.yml: `rc`, `output`, and what the controller's host did as `changed` and so on."""
    done = subprocess.run(
        [
            "ansible-playbook",
            *("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"),
            *("-e", json.dumps({**VARIABLES, **variables})),
            *options,
            str(ROOT / "playbooks/awx.yml"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / 'collections'}{os.pathsep}{collections}",
            "ANSIBLE_PIPELINING": "true",
            "HOME": str(folder),
            "CONTROLLER_HOST": address,
            "CONTROLLER_OAUTH_TOKEN": TOKEN,
        },
    )
    recap = next((line for line in done.stdout.splitlines() if line.startswith("localhost  ")), "")
    counts = {name: int(count) for name, count in (word.split("=") for word in recap.split() if "=" in word)}
    return {"rc": done.returncode, "output": done.stdout + done.stderr, **counts}


@pytest.fixture(scope="module")
def controller() -> Iterator[tuple[str, Controller]]:
    with standin(ROOT) as made:
        yield made


@pytest.fixture(scope="module")
def applied(
    controller: tuple[str, Controller], collections: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Controller, dict[str, dict[str, Any]]]:
    """An empty controller after check, apply, check; the runs by these names."""
    address, server = controller
    folder = tmp_path_factory.mktemp("awx")
    runs = {}
    for name, options in (("first check", ["--check"]), ("first", []), ("second", ["--check"])):
        asked = len(server.requests)
        runs[name] = run_awx(address, collections, folder, *options)
        runs[name]["written"] = [one for one in server.requests[asked:] if one[0] != "GET"]
        assert runs[name]["rc"] == 0, runs[name]["output"][-4000:]
    return server, runs
