# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects or replays a snapshot, diagnoses it, and saves it where that is wished."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.collect import collect
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.diagnose import Diagnosis, diagnose
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import Finding
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot, read, write
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.wish import Wish
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect

__all__ = ["examine", "in_short"]


def examine(params: Mapping[str, Any], result: dict[str, Any], *, check_mode: bool) -> None:
    """Fills in `result`: what Diagnosis.as_dict has, and `first`."""
    began = time.monotonic()
    seen = _replayed(params["replay_path"]) if params["replay_path"] else collect(connect(params), _wish(params))
    if params["snapshot_path"] and not check_mode:
        _save(seen, params["snapshot_path"])
    diagnosis = diagnose(seen)
    result.update(diagnosis.as_dict(), first=in_short(diagnosis), namespace=seen.namespace, taken=seen.taken)
    result["seconds"] = round(time.monotonic() - began, 2)


def _wish(params: Mapping[str, Any]) -> Wish:
    return Wish(
        namespace=params["namespace"],
        workers=tuple(params["workers"]),
        beats=tuple(params["beats"]),
        replicas={name: int(count) for name, count in params["replicas"].items()},
        queues=tuple(params["queues"]),
        app=params["app"] or None,
        python=params["python"],
        connections=params["connections"],
        within=params["within"],
        timeout=params["timeout"],
    )


def _replayed(path: str) -> Snapshot:
    try:
        return read(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as problem:
        raise CeleryOpsError(
            f"{path} cannot be replayed",
            expected="a file that celery_doctor saved",
            found=str(problem),
            remedy="correct replay_path",
        ) from problem


def _save(seen: Snapshot, path: str) -> None:
    """For its owner alone: it has no secret, but tells how a platform is built."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(write(seen))
    except OSError as problem:
        raise CeleryOpsError(
            "The snapshot cannot be saved",
            expected=f"a file that may be written at {path}",
            found=str(problem),
            remedy="correct snapshot_path",
        ) from problem


def in_short(diagnosis: Diagnosis) -> str:
    """The first finding as one sentence, for error messages; else what there is to say."""
    if diagnosis.findings:
        return _sentence(diagnosis.findings[0])
    unexplained = diagnosis.unexplained
    if unexplained:
        told = "; ".join(f"{one.subject} {one.text}" for one in unexplained[:3])
        count = f"{len(diagnosis.ruled_out)} causes are ruled out, {len(diagnosis.unseen)} could not be looked at"
        return f"unexplained: {told}. {count}"
    return f"nothing: {len(diagnosis.ruled_out)} causes are ruled out"


def _sentence(finding: Finding) -> str:
    quote = finding.evidence[0]
    what = f"{finding.title} [{finding.cause}, {finding.confidence.name.lower()}]"
    return f"{what}: {quote.source}: {quote.text}. Remedy: {finding.remedy}"
