# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe of a worker costs: ours beside `celery inspect ping`, in one run and in turn.

In the container of a worker of the platform where KUBECONFIG names a cluster, else beside a worker on loopback.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from helpers.servers import free_port, wait_until
from integration.celery.celery_running import FILES, HERE, Redis

from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import is_ready
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

from . import costs
from .report import Target, grid

__all__ = ["OURS", "PING", "Cost", "measure", "table", "targets"]

OURS, PING = "probe.sh", "inspect ping -d"
LIMIT = 0.05
# The exact number of characters is read: a container's standard input cannot always be closed.
SEND = "import sys; exec(compile(sys.stdin.read({size}), 'costs', 'exec'))"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took; ratios are ours to it, each the median of pairs that ran next to each other."""

    command: str
    runs: int
    wall_min: float
    wall_median: float
    cpu_median: float
    memory: float
    wall_ratio: float
    cpu_ratio: float


def measure(repetitions: int) -> tuple[str, list[Cost]]:
    """Where it was measured, and the costs."""
    if "KUBECONFIG" in os.environ:
        where, runs = "in a worker's container", _in_container(repetitions)
    else:
        where, runs = "beside a worker on loopback", _on_loopback(repetitions)
    ours = runs[OURS]
    return where, [
        Cost(
            name,
            len(each),
            min(run["wall"] for run in each),
            median(run["wall"] for run in each),
            median(run["cpu"] for run in each),
            max(run["memory"] for run in each),
            *(median(mine[what] / theirs[what] for mine, theirs in zip(ours, each, strict=True)) for what in RATIOS),
        )
        for name, each in runs.items()
    ]


RATIOS = ("wall", "cpu")
Runs = Mapping[str, list[dict[str, float]]]


def _answer(said: str) -> Runs:
    line = next((line for line in said.splitlines() if line.startswith(costs.MARK)), None)
    if line is None:
        raise RuntimeError(f"nothing was measured:\n{said[-2000:]}")
    found: Runs = json.loads(line.removeprefix(costs.MARK))
    return found


def _in_container(repetitions: int) -> Runs:
    api = connect({"retry_timeout": 10})
    namespace = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
    pods = [pod for pod in api.list("v1", "Pod", namespace, label_selector="component=celery-worker") if is_ready(pod)]
    if not pods:
        raise RuntimeError(f"no worker of namespace {namespace} is ready")
    name, container = pods[0]["metadata"]["name"], pods[0]["spec"]["containers"][0]
    celery = container["args"][: container["args"].index("worker")]
    commands = {
        OURS: container["livenessProbe"]["exec"]["command"],
        PING: [*celery, "inspect", "ping", "-d", f"celery@{name}"],
    }
    source = inspect.getsource(costs)
    given = json.dumps({"commands": commands, "repetitions": repetitions})
    done = exec_in_pod(
        api,
        namespace,
        name,
        ["python", "-c", SEND.format(size=len(source)), given],
        container=container["name"],
        stdin=source,
        timeout=60 + 30 * repetitions,
    )
    return _answer(f"{done.stderr}\n{done.stdout}")


def _on_loopback(repetitions: int) -> Runs:
    with tempfile.TemporaryDirectory() as folder, _worker(Path(folder)) as environment:
        celery = [sys.executable, "-m", "celery", "-A", "tiny"]
        commands = {
            OURS: ["sh", str(FILES / "probe.sh"), "alive"],
            PING: [*celery, "inspect", "ping", "-d", "celery@bench"],
        }
        given = json.dumps({"commands": commands, "repetitions": repetitions})
        done = subprocess.run(
            [sys.executable, str(Path(costs.__file__)), given],
            cwd=HERE,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return _answer(f"{done.stderr}\n{done.stdout}")


@contextlib.contextmanager
def _worker(folder: Path) -> Iterator[dict[str, str]]:
    """A worker that consumes, and the environment of its probes."""
    redis = Redis(folder)
    redis.start()
    environment = {
        **os.environ,
        "TINY_URL": redis.url,
        "PYTHONPATH": str(FILES),
        "CELERYOPS_STATE_DIR": str(folder),
        "CELERYOPS_METRICS_ADDRESS": "127.0.0.1",
        "CELERYOPS_METRICS_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "celery", "-A", "tiny", "worker", "--pool=threads", "--hostname=celery@bench"]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=HERE, env=environment, stdout=log, stderr=log)
    try:
        wait_until((folder / "ready").exists, "a worker that consumes")
        yield environment
    finally:
        process.terminate()
        process.wait(60)
        redis.stop()


def table(found: list[Cost]) -> str:
    """In reStructuredText."""
    heads = ["command", "wall min", "median", "ratio", "CPU", "ratio", "memory"]
    lines = [
        (
            row.command,
            f"{row.wall_min * 1000:.0f} ms",
            f"{row.wall_median * 1000:.0f} ms",
            f"{row.wall_ratio:.3f}",
            f"{row.cpu_median * 1000:.1f} ms",
            f"{row.cpu_ratio:.4f}",
            f"{row.memory:.0f} MiB",
        )
        for row in found
    ]
    return grid(heads, lines)


def targets(found: list[Cost]) -> list[Target]:
    """CPU of our own probe, in seconds."""
    return [Target(f"CPU of {row.command}, s", row.cpu_median, LIMIT) for row in found if row.command == OURS]


def content(where: str, found: list[Cost]) -> dict[str, Any]:
    """What goes into the JSON file beside the machine."""
    return {"where": where, "rows": [{name: getattr(row, name) for name in Cost.__slots__} for row in found]}
