# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of an artifact: a hash of everything its bytes follow from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.model import Artifact

__all__ = ["RECIPE", "artifact_key"]

# Raised by hand when the way of building changes in a manner that the other inputs do not show.
RECIPE = 1

# Where the input lies on this machine; its content is in the digests.
_PLACE = "source"


def artifact_key(
    artifact: Artifact,
    *,
    digests: Mapping[str, str],
    parents: Mapping[str, str],
    settings: Mapping[str, str],
) -> str:
    """64 hexadecimal digits over the spec, the digest of each input file, the parents' keys and the settings.

    ``digests`` maps a path relative to the input folder to the SHA-256 of its content and mode.
    """
    inputs: dict[str, Any] = {
        "recipe": RECIPE,
        "kind": artifact.kind,
        "name": artifact.name,
        "spec": {k: v for k, v in asdict(artifact.spec).items() if k != _PLACE},
        "files": dict(digests),
        "parents": {name: parents[name] for name in artifact.needs},
        "settings": dict(settings),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
