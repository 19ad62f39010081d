# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks to containerd through its own client, ctr."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._images.plan import (
    Image,
    Step,
    labels,
    make_plan,
    parse_listing,
)

__all__ = ["Containerd", "rows"]


class Containerd:
    """The images of one containerd namespace."""

    def __init__(self, program: str, namespace: str, address: str) -> None:
        self._prefix = [program, "--address", address, "--namespace", namespace, "images"]

    def _run(self, *arguments: str) -> str:
        argv = [*self._prefix, *arguments]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)  # pylint: disable=ansible-bad-function
        except FileNotFoundError as error:
            raise CeleryOpsError(
                "containerd's client is not on this node",
                expected=f"the program {argv[0]}",
                found="no such file",
                remedy="run the role kubeadm first, or set `images_ctr`",
            ) from error
        if done.returncode != 0:
            raise CeleryOpsError(
                f"ctr images {arguments[0]} failed",
                expected="exit code 0",
                found=f"{done.returncode}: {done.stderr.strip()[-1000:]}",
                remedy="see `systemctl status containerd` on the node, and whether its disk is full",
            )
        return done.stdout

    def plan(self, wanted: Sequence[Image], *, check_mode: bool) -> tuple[Step, ...]:
        """What has to be imported. Where containerd does not run yet, check mode takes it to be empty."""
        try:
            there = parse_listing(self._run("list"))
        except CeleryOpsError:
            if not check_mode:
                raise
            there = {}
        return make_plan(wanted, there)

    def load(self, image: Image) -> None:
        """Imports and unpacks an archive, then labels what it held."""
        if not Path(image.archive).is_file():
            raise CeleryOpsError(
                f"the archive of {image.reference} is not on this node",
                expected=image.archive,
                found="no such file",
                remedy="mount the cache of artifacts at this path, or let role images copy it",
            )
        self._run("import", image.archive)
        self._run("label", image.reference, *labels(image))


def rows(steps: Sequence[Step], done: Sequence[Step]) -> list[dict[str, Any]]:
    """Result rows; ``done`` are the imports that were made, or would be."""
    return [
        {
            "reference": step.image.reference,
            "archive": step.image.archive,
            "action": "present" if step.action == "present" else "imported" if step in done else "pending",
            "reason": step.reason,
            "visible": Path(step.image.archive).is_file(),
        }
        for step in steps
    ]
