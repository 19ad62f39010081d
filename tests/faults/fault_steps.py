# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How faults are injected and undone, and what is noted of each."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

__all__ = ["ROOT", "Place", "Report"]

Json = dict[str, Any]
STRATEGIC, JSON_PATCH = "application/strategic-merge-patch+json", "application/json-patch+json"
VERSIONS = {"Deployment": "apps/v1", "ConfigMap": "v1"}
# A cluster shows most faults within seconds; the slowest waits for a second start.
DEADLINE = 240
QUEUES = ["celery", "backups", "pricing", "reports", "notifications", "accounting", "monitoring", "webhooks"]
REPLICAS = {"celery-worker": 2, "celery-beat": 1}
COMMAND = re.compile(r"kubectl (?:'[^']*'|[^,;:('])+")


@dataclass
class Place:
    """A namespace that holds a platform of its own."""

    api: Api
    namespace: str
    undo: list[Callable[[], object]] = field(default_factory=list)

    def doctor(self) -> Json:
        args = {"namespace": self.namespace, "queues": QUEUES, "replicas": REPLICAS, "timeout": 60}
        result = run_module("celery_doctor", args)
        assert not result.get("failed"), result
        return result

    def backlog(self) -> int:
        """Messages that wait or are worked on, of all queues."""
        told = run_module("celery_info", {"namespace": self.namespace, "app": "config"})
        assert not told.get("failed"), told
        return sum(int(queue["backlog"]) for queue in told["queues"])

    def until(self, ready: Callable[[Json], bool], what: str) -> Json:
        """The first diagnosis for which it is so."""
        end = time.monotonic() + DEADLINE
        while True:
            result = self.doctor()
            if ready(result):
                return result
            if time.monotonic() > end:
                pytest.fail(f"{what}: not within {DEADLINE} s; the last diagnosis: {self.told(result)}")

    def until_healthy(self, when: str) -> None:
        """Looked at once the Deployments say that they have what they want: a look costs more than a question."""
        end = time.monotonic() + DEADLINE
        while not self._settled() and time.monotonic() < end:
            time.sleep(1)
        self.until(lambda result: bool(result["healthy"]), f"a platform that works, {when}")

    def until_worked_off(self) -> None:
        end = time.monotonic() + DEADLINE
        while left := self.backlog():
            if time.monotonic() > end:
                pytest.fail(f"a backlog that is worked off: {left} tasks are left after {DEADLINE} s")
            time.sleep(1)

    def _settled(self) -> bool:
        for one in self.api.list("apps/v1", "Deployment", self.namespace):
            status, wanted = one.get("status") or {}, one["spec"].get("replicas", 1)
            counts = {int(status.get(key) or 0) for key in ("replicas", "updatedReplicas", "readyReplicas")}
            if counts != {wanted} or status.get("observedGeneration") != one["metadata"]["generation"]:
                return False
        return True

    @staticmethod
    def told(result: Json) -> str:
        causes = [f"{one['cause']} ({one['confidence']}): {one['evidence'][0]['text']}" for one in result["findings"]]
        return f"{causes}; unexplained {result['unexplained']}; {result['could_not_look']}"

    def inject(self, steps: list[Json]) -> None:
        for step in steps:
            ((verb, given),) = step.items()
            getattr(self, f"_{verb}")(given)

    def restore(self) -> None:
        while self.undo:
            self.undo.pop()()

    def heal(self, how: Any, remedy: str) -> None:
        if how == "undo":
            self.restore()
        elif how == "remedy":
            self._run(remedy)
        else:
            self.inject(how)

    def _run(self, remedy: str) -> None:
        """The finding's own command, as a person would copy it."""
        match = COMMAND.search(remedy)
        assert match, f"no command in: {remedy}"
        words = shlex.split(match[0])
        subprocess.run([os.environ.get("KUBECTL", "kubectl"), *words[1:]], check=True, capture_output=True, text=True)

    def _ref(self, given: Json) -> ObjectRef:
        return ObjectRef(
            given.get("apiVersion") or VERSIONS[given["kind"]], given["kind"], given["name"], self.namespace
        )

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        return value.replace("{namespace}", self.namespace) if isinstance(value, str) else value

    def _patch(self, given: Json) -> None:
        ref = self._ref(given)
        found = self.api.get(ref)
        assert found is not None
        part = "data" if given["kind"] == "ConfigMap" else "spec"
        before = [{"op": "replace", "path": f"/{part}", "value": found[part]}]
        self.undo.append(lambda: self.api.patch(ref, before, content_type=JSON_PATCH))
        if part == "data":
            # Pods that read it are made anew, once it is what it was.
            self.undo.insert(0, self._restart_unready)
        self.api.patch(ref, self._filled(given["body"]), content_type=STRATEGIC)

    def _create(self, given: Json) -> None:
        obj = {**given, "metadata": {**given["metadata"], "namespace": self.namespace}}
        self.undo.append(lambda: self.api.delete(ObjectRef.of(obj)))
        self.api.create(obj)

    def _delete_pods(self, labels: str) -> None:
        for pod in self.api.list("v1", "Pod", self.namespace, label_selector=labels):
            self.api.delete(ObjectRef.of(pod))

    def _restart_unready(self) -> None:
        """Pods that started with what was wrong: those that wait, and those that run with it."""
        self._delete_pods("component in (celery-worker,celery-beat)")

    def _exec(self, given: Json, *, every: bool = False) -> None:
        pods = [
            pod
            for pod in self.api.list("v1", "Pod", self.namespace, label_selector=given["pods"])
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]
        assert pods
        for pod in pods if every else pods[:1]:
            done = exec_in_pod(self.api, self.namespace, pod["metadata"]["name"], given["command"], timeout=60)
            assert done.rc == 0, done.stderr

    def _exec_all(self, given: Json) -> None:
        self._exec(given, every=True)

    def _site(self, tags: str) -> None:
        """The part of site.yml that the remedy names."""
        inventory = os.environ.get("FAULTS_INVENTORY", "molecule/inventory")
        done = subprocess.run(
            [
                "ansible-playbook",
                "-i",
                inventory,
                "site.yml",
                "--tags",
                tags,
                "-e",
                "@molecule/faults/vars/platform.yml",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        )
        assert done.returncode == 0, done.stdout[-3000:]


@dataclass
class Report:
    """One row for each fault and each healthy look."""

    rows: list[Json] = field(default_factory=list)

    def note(self, fault: str, causes: list[str], result: Json, healed: bool, rank: int = 1) -> Json:
        """`causes`: the one that was injected, and others that were injected with it; `rank`: how low it may stand."""
        cause = causes[0] if causes else ""
        found = [one["cause"] for one in result["findings"]]
        row = {
            "fault": fault,
            "cause": cause,
            "rank": found.index(cause) + 1 if cause in found else None,
            "wanted_rank": rank,
            "confidence": next((one["confidence"] for one in result["findings"] if one["cause"] == cause), None),
            "beside": [one for one in found if one not in causes],
            "with": [one for one in found if one in causes[1:]],
            "seconds": result["seconds"],
            "healed": healed,
        }
        self.rows.append(row)
        return row

    def figures(self) -> Json:
        """Recall: faults whose cause came first, or second where two are inseparable. Precision: findings that name an
        injected fault, of all findings."""
        faults = [row for row in self.rows if row["cause"]]
        first = sum(row["rank"] is not None and row["rank"] <= row["wanted_rank"] for row in faults)
        right = sum((row["rank"] is not None) + len(row["with"]) for row in faults)
        told = right + sum(len(row["beside"]) for row in self.rows)
        return {
            "faults": len(faults),
            "recall": first / len(faults) if faults else None,
            "precision": right / told if told else None,
            "healthy_looks": len(self.rows) - len(faults),
            "healthy_findings": sum(len(row["beside"]) for row in self.rows if not row["cause"]),
            "slowest": max((row["seconds"] for row in self.rows), default=None),
        }

    def table(self) -> str:
        heads = ("fault", "cause", "rank", "confidence", "seconds", "beside")
        rows = [
            (
                row["fault"],
                row["cause"] or "none",
                str(row["rank"] or "-"),
                row["confidence"] or "-",
                f"{row['seconds']:.1f}",
                ", ".join(row["beside"]) or "-",
            )
            for row in self.rows
        ]
        widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (heads, *rows)
        ]
        figures = self.figures()
        return "\n".join([*lines, "", ", ".join(f"{name} {value}" for name, value in figures.items())])
