# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the registries through their ordinary clients: with the settings, proxies and certificates a build uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["silent"]

_TIMEOUT = 30
_APT_HELPER = "/usr/lib/apt/apt-helper"


def silent(python: str) -> dict[str, str]:
    """The registries that do not answer, each with what its client said. Takes 30 s at most."""
    questions = {"pip": lambda: _pip(python), "go": _go, "apt": _apt}
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = {name: pool.submit(ask) for name, ask in questions.items()}
    return {name: said for name, answer in answers.items() if (said := answer.result())}


def _ask(argv: Sequence[str], **environment: str) -> str:
    """Nothing when the client got its answer, otherwise the last thing it said."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                argv,
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT,
                cwd=folder,
                env={**os.environ, **environment},
            )
        except subprocess.TimeoutExpired:
            return f"no answer in {_TIMEOUT} s"
        except OSError as error:
            return f"{argv[0]}: {error.strerror}"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if "rror" in line or line.startswith("E:")), lines[-1] if lines else ""
    )


def _pip(python: str) -> str:
    options = ["--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--retries", "0", "--timeout", "10"]
    # A small pure wheel of one file.
    return _ask([python, "-m", "pip", "download", "--quiet", *options, "--dest", ".", "six==1.17.0"])


def _go() -> str:
    module = "golang.org/x/mod"
    if go := shutil.which("go"):
        return _ask([go, "list", "-m", "-f", "{{.Version}}", f"{module}@latest"], GOFLAGS="-mod=mod", GO111MODULE="on")
    proxy = os.environ.get("GOPROXY", "https://proxy.golang.org").replace("|", ",").split(",")[0]
    if not proxy.startswith(("http://", "https://")):
        return f"GOPROXY begins with '{proxy}', and there is no Go that could do without a proxy"
    try:
        # As Go asks: by the environment's proxies, and by no setting of Ansible's.
        with urllib.request.build_opener().open(f"{proxy.rstrip('/')}/{module}/@latest", timeout=_TIMEOUT):
            return ""
    except (urllib.error.URLError, OSError) as error:
        return f"{proxy}: {error}"


def _apt() -> str:
    """The index of every suite of a Debian archive in apt's sources; nothing where apt is not the system's."""
    if not Path(_APT_HELPER).exists():
        return ""
    listed = subprocess.run(  # pylint: disable=ansible-bad-function
        ["apt-get", "--print-uris", "update"], capture_output=True, text=True, check=False, timeout=_TIMEOUT
    ).stdout
    uris = [line.split("'")[1] for line in listed.splitlines() if line.startswith("'")]
    suites = [uri for uri in uris if uri.endswith("/InRelease") and "/debian" in uri]
    if not suites:
        return "no Debian archive in apt's sources"
    pairs = [part for number, uri in enumerate(suites) for part in (uri, f"./{number}")]
    return _ask([_APT_HELPER, "-o", "Acquire::Retries=0", "-o", "APT::Sandbox::User=root", "download-file", *pairs])
