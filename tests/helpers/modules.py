# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the collection for real: its own process, JSON arguments in, JSON result out.

The processes are forked from one that has imported the libraries already: their import takes longer than most modules
do, and tests run modules by the hundred. The collection's own code is imported anew by each.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "run_module"]

ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = ["ansible.module_utils.basic", "redis", "urllib3", "yaml"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_LIBRARIES)


def run_module(
    name: str, args: Mapping[str, Any], *, check: bool = False, diff: bool = False, timeout: float = 300
) -> dict[str, Any]:
    """The result of a module; `failed` is in it when the module failed.

    Fails the test when the process ended without a result, or when the result's `failed` and its exit status disagree.
    """
    options = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/tmp"}  # noqa: S108
    with tempfile.TemporaryDirectory() as folder:
        given, out, err = (Path(folder, part) for part in ("args", "out", "err"))
        given.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **options}}), encoding="utf-8")
        path = ROOT / "plugins/modules" / f"{name}.py"
        process = _context.Process(target=_run, args=(path, given, out, err, dict(os.environ)))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise AssertionError(f"{name} did not end within {timeout:g} s")
        said = out.read_text(encoding="utf-8")
        try:
            result: dict[str, Any] = json.loads(said)
        except ValueError:
            raise AssertionError(f"{name} gave no result:\n{said}\n{err.read_text(encoding='utf-8')}") from None
    assert bool(result.get("failed")) == (process.exitcode != 0), said
    return result


def _run(path: Path, given: Path, out: Path, err: Path, environment: dict[str, str]) -> None:
    """In the new process: what an interpreter would do that Ansible starts with the module."""
    os.environ.clear()
    os.environ.update(environment)
    for number, file, flags in (
        (0, given, os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT),
        (2, err, os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(file, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0, "r"), os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = [str(path)]
    collections = str(ROOT / "collections")
    if collections not in sys.path:
        sys.path.insert(0, collections)
    runpy.run_path(str(path), run_name="__main__")
