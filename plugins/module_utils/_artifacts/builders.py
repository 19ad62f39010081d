# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one artifact of each kind is built into a staging folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts import (
    commands,
    golang,
    sources,
    toolchain,
)
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.host import Host
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.model import Base, Go, Image, Spec
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.plan import Plan, Planned
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.process import Runner
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.store import Store

__all__ = ["ARCHIVE", "Workshop"]

ARCHIVE = "image.tar"


@dataclass
class Workshop:
    """What the builds of one run share: scratch space, image storage, toolchains, host settings."""

    scratch: Path
    cache: Path
    store: Store
    plan: Plan
    toolchains: Mapping[str, golang.Toolchain]
    wheel: golang.Wheel
    python: str
    environ: Mapping[str, str]
    _loaded: set[str] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def _host(self) -> Host:
        return Host(self.scratch / "host", self.environ, self.python)

    @property
    def _storage(self) -> str:
        return str(self.scratch / "storage")

    def build(self, step: Planned, runner: Runner) -> Path:
        """Builds ``step`` and returns the folder that holds exactly its files."""
        work = self.scratch / step.name
        out = work / "out"
        out.mkdir(parents=True)
        spec = step.artifact.spec
        if isinstance(spec, Go):
            self._go(step, spec, work, out, runner)
        elif isinstance(spec, Base):
            self._base(step, spec, work, out, runner)
        else:
            self._image(step, spec, work, out, runner)
        return out

    def _go(self, step: Planned, spec: Go, work: Path, out: Path, runner: Runner) -> None:
        chosen = self.toolchains[step.name]
        program = chosen.program or toolchain.install(runner, self.wheel, python=self.python, cache=self.cache)
        sources.stage(spec.source, work / "src")
        runner.run(
            commands.compile_go(program, spec, step.version, str(out)),
            cwd=work / "src",
            env=commands.go_environment(self.environ, str(self.cache)),
        )
        for made, wanted in spec.rename:
            (out / made).rename(out / wanted)
        missing = sorted(set(spec.binaries) - {p.name for p in out.iterdir()})
        if missing:
            raise runner.failed(
                f"the build made no {', '.join(missing)}",
                remedy="correct `binaries` or the tool lines of go.mod",
            )
        if spec.check:
            said = runner.output([str(out / spec.check[0]), *spec.check[1:]])
            if step.version.removeprefix("v") not in said:
                raise runner.failed(
                    f"{spec.check[0]} does not report version {step.version}: {said.strip()[:200]}",
                    remedy="correct `ldflags` in the catalogue",
                )

    def _base(self, step: Planned, spec: Base, work: Path, out: Path, runner: Runner) -> None:
        with self._guard:
            host = self._host
        rootfs = work / "rootfs.tar"
        sources_list = host.debian_sources(spec.suite)
        runner.run(commands.bootstrap(spec, str(rootfs), sources=sources_list, apt_conf=host.apt_conf), cwd=work)
        (work / "Containerfile").write_text('FROM scratch\nADD rootfs.tar /\nCMD ["/bin/sh"]\n', encoding="utf-8")
        self._bud(step, work, {}, (), runner)
        self._save(step, out, runner)

    def _image(self, step: Planned, spec: Image, work: Path, out: Path, runner: Runner) -> None:
        context = work / "context"
        sources.stage(spec.source, context)
        for binary in spec.binaries:
            name, _slash, file = binary.partition("/")
            target = context / "bin" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.store.path(name, self.plan[name].key) / file, target)
        with self._guard:
            host = self._host
            base = self._load(spec.base, runner) if spec.base else ""
            settings = host.arguments(self._suite(spec))
        arguments = {**settings, **dict(spec.arguments), "VERSION": step.reference.rpartition(":")[2]}
        if base:
            arguments["BASE"] = base
        self._bud(step, context, arguments, host.volumes, runner)
        self._save(step, out, runner)

    def _suite(self, spec: Spec) -> str:
        """The Debian suite at the root of an image, empty when there is none."""
        while isinstance(spec, Image) and spec.base:
            spec = self.plan[spec.base].artifact.spec
        return spec.suite if isinstance(spec, Base) else ""

    def _load(self, name: str, runner: Runner) -> str:
        """The reference of an image artifact that stands in the storage of this run afterwards."""
        step = self.plan[name]
        if name not in self._loaded:
            archive = self.store.path(name, step.key) / ARCHIVE
            runner.run(
                commands.buildah(self._storage, "pull", "--quiet", f"docker-archive:{archive}"),
                cwd=self.scratch,
            )
            self._loaded.add(name)
        return step.reference

    def _bud(
        self,
        step: Planned,
        context: Path,
        arguments: Mapping[str, str],
        volumes: tuple[str, ...],
        runner: Runner,
    ) -> None:
        argv = commands.build_image(
            self._storage,
            reference=step.reference,
            containerfile=str(context / "Containerfile"),
            context=str(context),
            arguments=arguments,
            volumes=volumes,
            labels={"io.celeryops.key": step.key},
        )
        runner.run(argv, cwd=context)

    def _save(self, step: Planned, out: Path, runner: Runner) -> None:
        target = f"docker-archive:{out / ARCHIVE}:{step.reference}"
        runner.run(commands.buildah(self._storage, "push", "--quiet", step.reference, target), cwd=out)
        self._loaded.add(step.name)
