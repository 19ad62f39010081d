# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans, then builds what is missing, telling how far it is."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts import (
    diagnosis,
    golang,
    process,
    sources,
    toolchain,
)
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.builders import ARCHIVE, Workshop
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.model import Artifact, Go
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.plan import (
    Plan,
    Planned,
    make_plan,
)
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.store import Store
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Factory"]

# Seconds between two progress lines of one artifact.
_EVERY = 15.0

# Versions of an image that stay in the cache; two branches of one application take turns without building.
_KEEP = 3


@dataclass
class Factory:
    """Builds artifacts of a catalogue into a cache. ``say`` shows a line to the person who waits."""

    catalogue: Mapping[str, Artifact]
    cache: Path
    repository: str
    wheel: golang.Wheel
    python: str
    jobs: int
    say: Callable[[str], None]
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        self.store = Store(str(self.cache / "artifacts"))
        self._toolchains: dict[str, golang.Toolchain] = {}
        self._host_go: dict[str, str] | None = None

    def plan(self, names: Sequence[str]) -> Plan:
        """Reads the inputs and says what is cached; changes nothing."""
        return make_plan(
            self.catalogue,
            names,
            repository=self.repository,
            digests=self._digests,
            version=self._version,
            settings=self._settings,
            cached=self.store.has,
        )

    def _digests(self, artifact: Artifact) -> dict[str, str]:
        source = getattr(artifact.spec, "source", "")
        return sources.digests(source) if source else {}

    def _go_mod(self, spec: Go) -> str:
        return (Path(spec.source) / "go.mod").read_text(encoding="utf-8")

    def _version(self, artifact: Artifact) -> str:
        spec = artifact.spec
        if isinstance(spec, Go) and spec.module:
            return golang.module_version(self._go_mod(spec), spec.module)
        return ""

    def _settings(self, artifact: Artifact) -> dict[str, str]:
        settings = {"machine": platform.machine()}
        if isinstance(artifact.spec, Go):
            if self._host_go is None:
                self._host_go = toolchain.go_on_host(self.environ)
            needed = golang.required(self._go_mod(artifact.spec))
            chosen = golang.choose(needed, self._host_go, self.wheel)
            self._toolchains[artifact.name] = chosen
            return {**settings, "go": chosen.version}
        return {**settings, "repository": self.repository}

    def build(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Builds what is missing and returns one row per artifact of the plan, in its order.

        Raises CeleryOpsError with the rows so far in its details when a build fails.
        """
        plan = self.plan(names)
        seconds: dict[str, float] = {}
        if plan.build:
            with self.store.lock(self._waiting()) as scratch:
                # another run may have built some of it meanwhile
                plan = self.plan(names)
                try:
                    _Run(self, plan, scratch, seconds).finish()
                except CeleryOpsError as error:
                    error.details["artifacts"] = self.rows(self.plan(names), seconds)
                    raise
        return self.rows(plan, seconds)

    def rows(self, plan: Plan, seconds: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
        """The result rows; ``seconds`` holds how long each artifact took that was built now."""
        built = plan.build if seconds is None else seconds
        return [
            {
                "name": step.name,
                "kind": step.artifact.kind,
                "key": step.key,
                "version": step.version,
                "path": str(self._path(step)),
                "reference": step.reference,
                "binaries": self._binaries(step),
                "action": "built" if step.name in built else "cached" if step.cached else "missing",
                "seconds": round((seconds or {}).get(step.name, 0.0), 1),
            }
            for step in plan.steps
        ]

    def remove(self, names: Sequence[str], *, check_mode: bool) -> list[dict[str, Any]]:
        """Forgets every cached version of ``names``, while nobody builds."""
        there = [name for name in names if (self.store.root / name).exists()]
        if there and not check_mode:
            with self.store.lock(self._waiting()):
                for name in there:
                    self.store.remove(name)
        return [{"name": name, "action": "removed" if name in there else "absent"} for name in names]

    def _path(self, step: Planned) -> Path:
        folder = self.store.path(step.name, step.key)
        return folder / ARCHIVE if step.reference else folder

    def _binaries(self, step: Planned) -> dict[str, str]:
        spec = step.artifact.spec
        folder = self.store.path(step.name, step.key)
        return {name: str(folder / name) for name in spec.binaries} if isinstance(spec, Go) else {}

    def _waiting(self) -> Callable[[float], None]:
        told = -_EVERY

        def tell(waited: float) -> None:
            nonlocal told
            if waited - told >= _EVERY:
                told = waited
                self.say(f"another run builds in {self.store.root}; waiting for it … {diagnosis.duration(waited)}")

        return tell


class _Run:
    """One build of a plan: two lanes at most, of which one compiles Go (which uses every core by itself)."""

    def __init__(self, factory: Factory, plan: Plan, scratch: Path, seconds: dict[str, float]) -> None:
        self._factory = factory
        self._plan = plan
        self._seconds = seconds
        self._cancel = threading.Event()
        self._total = len(plan.build)
        # compiling takes longest and images wait for it: first come the modules, then the rest in order
        self._pending = sorted(plan.build, key=lambda n: plan[n].artifact.kind != "go")
        self._running: dict[str, Future[None]] = {}
        self._started: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._number: dict[str, int] = {}
        self._workshop = Workshop(
            scratch=scratch,
            cache=factory.cache,
            store=factory.store,
            plan=plan,
            toolchains=factory._toolchains,
            wheel=factory.wheel,
            python=factory.python,
            environ=factory.environ,
        )

    def finish(self) -> None:
        """Returns when all is built; the first failure stops the rest and is raised."""
        if not self._total:
            return
        self._factory.say(f"to build: {', '.join(self._plan.build)}; logs in {self._factory.store.root / 'logs'}")
        with ThreadPoolExecutor(self._factory.jobs) as pool:
            try:
                while self._pending or self._running:
                    self._start(pool)
                    # Nothing tells of the lines that builds print meanwhile: they are looked for.
                    time.sleep(0.1)
                    self._collect()
                    self._progress()
            finally:
                self._cancel.set()

    def _ready(self, name: str) -> bool:
        waits = any(n in self._pending or n in self._running for n in self._plan[name].artifact.needs)
        is_go = self._plan[name].artifact.kind == "go"
        busy = is_go and any(self._plan[n].artifact.kind == "go" for n in self._running)
        return not waits and not busy

    def _start(self, pool: ThreadPoolExecutor) -> None:
        for name in list(self._pending):
            if len(self._running) >= self._factory.jobs:
                return
            if self._ready(name):
                self._pending.remove(name)
                self._started[name] = self._told[name] = time.monotonic()
                self._number[name] = len(self._number) + 1
                self._running[name] = pool.submit(self._one, name)

    def _one(self, name: str) -> None:
        step = self._plan[name]
        store = self._factory.store
        runner = process.Runner(name, store.log(name), self._cancel)
        staged = self._workshop.build(step, runner)
        took = round(time.monotonic() - self._started[name], 1)
        files = {p.name: p.stat().st_size for p in sorted(staged.iterdir())}
        meta = {
            "name": name,
            "key": step.key,
            "reference": step.reference,
            "version": step.version,
            "seconds": took,
            "files": files,
        }
        store.publish(staged, name, step.key, meta)
        if step.reference:
            # A node needs an archive no more once it is imported; commands it runs from where they lie.
            store.prune(name, _KEEP)

    def _collect(self) -> None:
        for name, future in list(self._running.items()):
            if not future.done():
                continue
            error = future.exception()
            if isinstance(error, OSError):
                raise CeleryOpsError(
                    f"{name}: a file of the cache could not be written",
                    expected=f"room and permission below {self._factory.store.root}",
                    found=str(error),
                    remedy="make room or correct the permissions, then run this again",
                    artifact=name,
                ) from error
            if error is not None:
                raise error
            del self._running[name]
            self._seconds[name] = time.monotonic() - self._started[name]
            self._line(name, f"built in {diagnosis.duration(self._seconds[name])}")

    def _progress(self) -> None:
        now = time.monotonic()
        for name in self._running:
            if now - self._told[name] >= _EVERY:
                self._told[name] = now
                doing = diagnosis.activity(process.last_line(self._factory.store.log(name)))
                self._line(name, f"{doing} … {diagnosis.duration(now - self._started[name])}")

    def _line(self, name: str, text: str) -> None:
        self._factory.say(f"[{self._number[name]}/{self._total}] {name}: {text}")
