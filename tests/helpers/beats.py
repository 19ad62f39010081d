# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real beats that stand by for each other: a Lease on a real API server, with the rights of role celery_beat."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import redis
import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

from .apiserver import ApiServer
from .modules import ROOT
from .servers import DEADLINE

__all__ = ["FILES", "TIMING", "Beats", "OneBeat", "Relay", "make_lease", "messages", "twice"]

FILES = ROOT / "roles/celery_pod/files"
NAME = "celery-beat"
# A fifth of the real times.
TIMING = {"DURATION": 3, "RENEW_WITHIN": 2, "RETRY": 0.4}


def make_lease(api: Api, server: ApiServer, namespace: str, folder: Path) -> dict[str, str]:
    """The objects of role celery_beat, and the environment of a pod that has its service account."""
    template = jinja2.Environment(autoescape=False).from_string(  # noqa: S701 - it makes YAML
        (ROOT / "roles/celery_beat/templates/election.yaml.j2").read_text().replace("| to_json", "| tojson")
    )
    names = {"celery_beat_name": NAME, "celery_beat_namespace": namespace, "__celery_beat_labels": {"a": "b"}}
    for document in yaml.safe_load_all(template.render(names)):
        api.create(document)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{NAME}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    folder.mkdir()
    (folder / "token").write_text(api.request("POST", path, body=asked)["status"]["token"])
    (folder / "ca.crt").write_text((server.folder / "apiserver.crt").read_text())
    return {
        "CELERYOPS_LEASE": f"{namespace}/{NAME}",
        "CELERYOPS_ACCOUNT_DIR": str(folder),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(server.port),
        **{f"CELERYOPS_LEASE_{name}": str(value) for name, value in TIMING.items()},
    }


@dataclass
class OneBeat:
    """A beat, and what a kubelet and a reader of its log know of it."""

    name: str
    process: subprocess.Popen[bytes]
    state: Path
    log: Path
    environment: dict[str, str]

    def passes(self, probe: str) -> bool:
        command = ["sh", FILES / "probe.sh", probe]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert not done.stderr
        return done.returncode == 0

    def says(self, probe: str = "alive") -> str:
        """What it last said in the file of this probe."""
        path = self.state / probe
        return path.read_text().strip().partition(" ")[2].partition(" ")[2] if path.exists() else ""

    def sent(self) -> int:
        return self.log.read_text().count("Sending due task")

    def stands_by(self) -> bool:
        return self.passes("ready") and self.says("ready").startswith("standing by, ") and " acts" in self.says("ready")

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)


@dataclass
class Beats:
    """Starts beats of one application. `command` is what starts Celery, up to its subcommand."""

    folder: Path
    command: list[str]
    cwd: Path
    environment: dict[str, str]
    api: Api
    namespace: str
    running: list[OneBeat] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self, *arguments: str, **changes: str) -> OneBeat:
        name = f"beat-{next(self.numbers)}"
        state = self.folder / name
        state.mkdir()
        log = self.folder / f"{name}.log"
        environment = {
            **self.environment,
            "CELERYOPS_STATE_DIR": str(state),
            "CELERYOPS_IDENTITY": name,
            "CELERYOPS_SILENCE_LIMIT": "4",
            **changes,
        }
        flags = [f"--pidfile={state / 'pid'}", "--loglevel=info", *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", *self.command, "beat", *flags],
                cwd=self.cwd,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(OneBeat(name, process, state, log, environment))
        return self.running[-1]

    def lease(self) -> dict[str, Any]:
        found = self.api.get(ObjectRef("coordination.k8s.io/v1", "Lease", NAME, self.namespace))
        assert found is not None
        return found.get("spec") or {}

    def holder(self) -> OneBeat | None:
        """The one that the Lease names, if it is one of those that run."""
        name = (self.lease().get("holderIdentity") or "").partition("_")[0]
        return next((beat for beat in self.alive() if beat.name == name), None)

    def alive(self) -> list[OneBeat]:
        return [beat for beat in self.running if beat.process.poll() is None]

    def end(self) -> None:
        for beat in self.running:
            beat.end()


class Relay:
    """The only way that one beat has to the API server, which a test can cut."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.open = True
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = self.listener.accept()
                if not self.open:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.target))
                self.ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.open = False
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.open = True

    def end(self) -> None:
        self.cut()
        self.listener.close()


def messages(broker: redis.Redis, *queues: str) -> list[tuple[str, str]]:
    """(entry, due time) of every message that waits, the oldest first."""
    found = []
    for queue in queues:
        for text in reversed(broker.lrange(queue, 0, -1)):
            headers = json.loads(text)["headers"]
            found.append((headers["periodic_task_name"], headers["celeryops_due"]))
    return found


def twice(sent: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Those that were sent more than once, which is never right."""
    return {one: count for one, count in Counter(sent).items() if count > 1}
