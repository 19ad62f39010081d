# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter to PyYAML, which the library `kubernetes` brings along."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from .errors import KubeError

try:
    import yaml

    YAML_IMPORT_ERROR: str | None = None
    # Ten times as fast, and there wherever PyYAML was built with libyaml.
    _Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()

__all__ = ["YAML_IMPORT_ERROR", "dump", "load_files"]


def dump(value: Any) -> str:
    """Readable YAML; an empty text for nothing."""
    if not value:
        return ""
    style: dict[str, Any] = {"default_flow_style": False, "allow_unicode": True, "sort_keys": True, "width": 1000}
    return str(yaml.dump(value, Dumper=_Dumper, **style))


def load_files(paths: list[str], option: str = "src") -> list[Any]:
    """The documents of YAML files, in the order given; `option` is the one that named them."""
    found: list[Any] = []
    if paths and YAML_IMPORT_ERROR:
        raise KubeError(
            "the Python library PyYAML is missing",
            expected="PyYAML, as the library kubernetes brings it along",
            found=YAML_IMPORT_ERROR.strip().splitlines()[-1],
            remedy="install it for the interpreter that runs the module",
        )
    for path in paths:
        try:
            found += list(yaml.load_all(Path(path).read_text(encoding="utf-8"), Loader=_Loader))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise KubeError(
                f"{path} cannot be read",
                expected="a readable file of YAML documents",
                found=" ".join(str(error).split()),
                remedy=f"correct the path in `{option}`, or the file",
            ) from error
    return found
