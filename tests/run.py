#!/usr/bin/env python3
# Copyright: (c) 2026, The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the named stages of the test suite and closes with one line that counts them all.

Every stage runs even when an earlier one failed, except where it needs what that one makes;
the exit status is 1 when anything failed. A stage that is no pytest run counts one test per command.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# One JUnit report for each pytest run, with the time of every test
REPORTS = ROOT / "build" / "reports"
# The tests' platform stands beside the one of `make site`: own name, own network, own state.
MOLECULE_PLATFORM = "molecule"


@dataclass
class Tally:
    """What a stage counted: numbers of tests, names of failures, and (name, reason) of what was skipped."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def command(name: str, *args: str, env: dict[str, str] | None = None) -> Tally:
    """Runs one command; it counts as one test."""
    print(f"\n$ {' '.join(args)}", flush=True)
    done = subprocess.run(args, cwd=ROOT, env=environment(env), check=False)
    return Tally(passed=1) if done.returncode == 0 else Tally(failed=[f"{name} (exit status {done.returncode})"])


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The caller's environment with the project's tools first on PATH."""
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **(extra or {})}


def pytest(name: str, *args: str, env: dict[str, str] | None = None) -> Tally:
    """Runs pytest and counts its JUnit report. A run that collected nothing is a failure."""
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", f"--junit-xml={report}", *args]
    print(f"\n$ pytest {' '.join(args)}", flush=True)
    done = subprocess.run(argv, cwd=ROOT, env=environment(env), check=False)
    tally = Tally()
    if report.exists():
        # The report was written by the pytest just run, not by somebody else.
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314
            label = f"{case.get('classname')}::{case.get('name')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                tally.failed.append(label)
            elif skipped is not None:
                tally.skipped.append((label, skipped.get("message", "")))
            else:
                tally.passed += 1
    if done.returncode != 0 and not tally.failed:
        tally.failed.append(f"{name} (pytest exit status {done.returncode})")
    return tally


def lint() -> Tally:
    """Two at a time, the longest first; what each says is printed when it has ended."""
    programs = (
        ("ansible-lint", "--offline", "--strict"),
        ("mypy", "plugins/module_utils", "tests/run.py"),
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("yamllint", "--strict", "."),
    )

    def run(program: tuple[str, ...]) -> tuple[tuple[str, ...], subprocess.CompletedProcess[str]]:
        out, both = subprocess.PIPE, subprocess.STDOUT
        return program, subprocess.run(
            program, cwd=ROOT, env=environment(), check=False, stdout=out, stderr=both, text=True
        )

    tally = Tally()
    with ThreadPoolExecutor(2) as pool:
        for program, done in pool.map(run, programs):
            print(f"\n$ {' '.join(program)}\n{done.stdout}", flush=True)
            if done.returncode == 0:
                tally.passed += 1
            else:
                tally.failed.append(f"{' '.join(program)} (exit status {done.returncode})")
    return tally


def unit() -> Tally:
    return pytest("unit", "tests/unit")


def package() -> Tally:
    """The built collection, as far as it takes no environments of its own."""
    return pytest("package", "tests/publish/test_tarball.py", "tests/publish/test_installed.py")


def publish() -> Tally:
    """All that is to be seen before the collection is published; `make publish` has made the environments."""
    return pytest("publish", "tests/publish")


def app() -> Tally:
    """The reference application against a real PostgreSQL and Redis of its own."""
    return pytest("app", "apps/jewelry_shop/tests")


def artifacts() -> Tally:
    return command("artifacts", "ansible-playbook", "playbooks/artifacts.yml")


def integration(which: str = "not heavy") -> Tally:
    # What these tests do is mostly waiting for servers of their own: two files at a time.
    at_once = ("-n", "2", "--dist", "loadfile", "--durations=25")
    return pytest("integration", "tests/integration", "-m", f"not cluster and {which}", *at_once)


def cluster(env: dict[str, str], which: str) -> Tally:
    """Tests on the platform itself, then those in namespaces of their own.

    One after the other: what restarts the whole platform is not to be told from what a loaded machine does to it.
    """
    tally = pytest("platform", "tests/integration", "-m", f"cluster and platform and {which}", env=env)
    tally.add(pytest("cluster", "tests/integration", "-m", f"cluster and not platform and {which}", env=env))
    return tally


def molecule(scenario: str, which: str = "not heavy") -> Tally:
    """One scenario, with the tests that need its cluster before it is destroyed."""
    env = {"MOLECULE_GLOB": "molecule/*/molecule.yml"}
    # What an interrupted run left behind is not what this one is to test.
    tally = command(f"molecule {scenario} destroy", "molecule", "destroy", "-s", scenario, env=env)
    tally.add(command(f"molecule {scenario}", "molecule", "test", "--destroy=never", "-s", scenario, env=env))
    if not tally.failed and scenario == "default":
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
        kubeconfig = state / "celeryops" / MOLECULE_PLATFORM / "kubeconfig"
        tally.add(cluster({"KUBECONFIG": str(kubeconfig)}, which))
    tally.add(command(f"molecule {scenario} destroy", "molecule", "destroy", "-s", scenario, env=env))
    return tally


def heavy() -> Tally:
    """Servers killed on loopback; whole workloads, failovers and drills on the platform of the scenario default."""
    tally = pytest("loopback", "tests/integration", "-m", "heavy and not cluster")
    tally.add(molecule("default", "heavy"))
    return tally


# What `make test` leaves to `make integration` and `make molecule`: it is to be over in twenty minutes.
QUICK = "not heavy and not slow"


def main() -> int:
    stages: dict[str, Callable[[], Tally]] = {
        "heavy": heavy,
        "lint": lint,
        "unit": unit,
        "package": package,
        "app": app,
        "artifacts": artifacts,
        "integration": integration,
        "integration-quick": lambda: integration(QUICK),
        "molecule-quick": lambda: molecule("default", QUICK),
        "publish": publish,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="+", choices=[*stages, "molecule"])
    parser.add_argument("--scenario", default="default", help="the Molecule scenario (default: %(default)s)")
    arguments = parser.parse_args()

    total, times = Tally(), []
    for name in arguments.stages:
        print(f"\n=== {name} " + "=" * (70 - len(name)), flush=True)
        started = time.monotonic()
        tally = molecule(arguments.scenario) if name == "molecule" else stages[name]()
        times.append((name, tally, time.monotonic() - started))
        total.add(tally)

    print("\n=== summary " + "=" * 63)
    for name, tally, seconds in times:
        counts = f"{tally.passed:4} passed {len(tally.failed):3} failed {len(tally.skipped):3} skipped"
        print(f"{name:18} {counts} {seconds:7.0f} s")
    for label, reason in total.skipped:
        print(f"skipped: {label}: {reason}")
    for label in total.failed:
        print(f"FAILED: {label}")
    print(f"{total.passed} passed, {len(total.failed)} failed, {len(total.skipped)} skipped")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
