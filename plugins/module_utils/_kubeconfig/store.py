# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter to PyYAML and to the file system: a kubeconfig read, and replaced at once."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

AVAILABLE = False
with suppress(ImportError):
    import yaml

    AVAILABLE = True

__all__ = ["AVAILABLE", "parse", "read", "write"]


def parse(text: str, where: str) -> Any:
    """The one document of a YAML text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The text holds keys: what the parser quotes of it is not shown.
        mark = getattr(error, "problem_mark", None)
        raise CeleryOpsError(
            f"{where} is no YAML",
            expected="a kubeconfig",
            found=f"a syntax error in line {mark.line + 1}" if mark is not None else "a syntax error",
            remedy="correct or move the file; it was left as it is",
        ) from None


def read(path: Path) -> Any:
    """The kubeconfig at this path; None where there is none, or an empty one."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CeleryOpsError(
            f"{path} cannot be read",
            expected="a readable file",
            found=" ".join(str(error).split()),
            remedy="correct its permissions, or give another path",
        ) from error


def write(path: Path, config: Any) -> None:
    """Replaces the file at once, readable for its owner only. A link stays one."""
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                yaml.safe_dump(config, out, default_flow_style=False, allow_unicode=True, sort_keys=False, width=1000)
            Path(temporary).replace(target)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise CeleryOpsError(
            f"{path} cannot be written",
            expected="a folder that may be written to",
            found=" ".join(str(error).split()),
            remedy="correct its permissions, or give another path",
        ) from error
