# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job templates as AWX runs them: by ansible-runner, in a copy of the project, with answers as variables."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner
from helpers.awx import DATA
from helpers.modules import ROOT
from helpers.published import BIN, tracked

__all__ = ["TEMPLATES", "Job", "Launcher", "checkout", "inventory_variables"]

Json = dict[str, Any]
TEMPLATES: dict[str, Json] = {one["name"]: one for one in DATA["job_templates"]}
(HOST,) = DATA["hosts"]


@dataclass
class Job:
    """How a job ended: `output`, the number of `changed` tasks, the statistics that it left as `artifacts`, and what
    it did to the project's files."""

    rc: int
    output: str
    changed: int
    artifacts: Json
    touched: list[str]

    @property
    def told(self) -> str:
        """The output in one line, without the breaks and quotes of its form."""
        return " ".join(self.output.split()).replace("''", "'")


def checkout(folder: Path) -> Path:
    """What AWX has of the project, in a folder of its own for each job."""
    for name in tracked():
        if name.partition("/")[0] not in ("tests", "molecule", "docs"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return folder


def inventory_variables(namespace: str, images: Mapping[str, str]) -> Json:
    """The variables of the inventory `Celery platform`, as role awx renders them."""
    (inventory,) = [one for one in DATA["inventories"] if one["name"] == "Celery platform"]
    text = json.dumps(inventory["variables"]).replace("{{ awx_namespace }}", namespace)
    for name, image in images.items():
        text = text.replace(f"{{{{ awx_images.{name} }}}}", image)
    assert "awx_" not in text
    found: Json = json.loads(text)
    return found


def _state(project: Path) -> dict[str, tuple[int, int]]:
    found = (path for path in project.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(project)): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@dataclass(frozen=True)
class Launcher:
    """Runs job templates; the kubeconfig comes by the environment, as from the credential.

    `variables` are those of the inventory `Celery platform`; the hosts of k3s come with their own. `folder` is the
    runner's, and the home of the one who runs.
    """

    project: Path
    folder: Path
    kubeconfig: Path
    variables: Json

    def __call__(
        self,
        template: str,
        answers: Json,
        *options: str,
        tags: str | None = None,
        groups: Json | None = None,
        variables: Json | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Job:
        """`options` are those of ansible-playbook; `tags` are the template's own, unless others are given.

        `groups` are further ones of the inventory, and `variables` go over its own.
        """
        declared = TEMPLATES[template]
        before = _state(self.project)
        data = self.folder / "runner"
        shutil.rmtree(data, ignore_errors=True)
        (data / "artifacts").mkdir(parents=True)
        (data / "project").symlink_to(self.project)
        inventory = self.variables if declared["inventory"] == "Celery platform" else {}
        become = ["--become"] if declared.get("become_enabled") else []
        done = ansible_runner.run(
            private_data_dir=str(data),
            playbook=declared["playbook"],
            inventory={
                "all": {
                    "hosts": {HOST["name"]: HOST["variables"]},
                    "vars": {**inventory, **(variables or {})},
                    "children": groups or {},
                }
            },
            extravars={**declared.get("extra_vars", {}), **answers},
            tags=declared.get("job_tags", "") if tags is None else tags,
            cmdline=" ".join([*become, *options]),
            envvars={
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.folder),
                "KUBECONFIG": str(self.kubeconfig),
                # As AWX does with the `collections_path` of the project's ansible.cfg
                "ANSIBLE_COLLECTIONS_PATH": "collections",
                **(env or {}),
            },
            quiet=True,
        )
        after = _state(self.project)
        touched = sorted({name for name in before | after if before.get(name) != after.get(name)})
        left: Json = {}
        for event in done.events:
            left |= (event["event_data"].get("artifact_data") or {}) if event["event"] == "playbook_on_stats" else {}
        changed = sum(((done.stats or {}).get("changed") or {}).values())
        return Job(done.rc, done.stdout.read(), changed, left, touched)
