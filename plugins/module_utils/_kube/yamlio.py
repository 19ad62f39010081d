# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter to PyYAML, which the library `kubernetes` brings along."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import KubeError

# Without it session.py says so before anything here is reached.
with suppress(ImportError):
    import yaml

__all__ = ["dump", "load_files"]


def dump(value: Any) -> str:
    """Readable YAML; an empty text for nothing."""
    if not value:
        return ""
    return str(yaml.safe_dump(value, default_flow_style=False, allow_unicode=True, sort_keys=True, width=1000))


def load_files(paths: list[str]) -> list[Any]:
    """The documents of YAML files, in the order given."""
    found: list[Any] = []
    for path in paths:
        try:
            found += list(yaml.safe_load_all(Path(path).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise KubeError(
                f"{path} cannot be read",
                expected="a readable file of YAML documents",
                found=" ".join(str(error).split()),
                remedy="correct the path in `src`, or the file",
            ) from error
    return found
