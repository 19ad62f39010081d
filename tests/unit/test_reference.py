# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of the roles: made from their specifications, and as new as these."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = runpy.run_path(str(ROOT / "tools/reference.py"))
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())


def test_pages_are_what_the_specifications_make() -> None:
    stale = [
        str(path.relative_to(ROOT))
        for path, text in REFERENCE["files"]()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run tools/reference.py"


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_role_has_a_page_a_description_and_a_specification(role: Path) -> None:
    assert (role / "README.md").is_file()
    assert (role / "meta/argument_specs.yml").is_file()
    described: dict[str, Any] = yaml.safe_load((role / "meta/main.yml").read_text(encoding="utf-8"))
    assert described["galaxy_info"]["description"]
    assert described["dependencies"] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_default_is_an_option_that_is_described(role: Path) -> None:
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    options = {name for entry in entries.values() for name in entry.get("options") or {}}
    assert set(REFERENCE["defaults"](role)) - options == set()


def test_a_page_says_type_choices_default_and_nested_options() -> None:
    options = {
        "demo_size": {
            "type": "str",
            "choices": ["s", "m"],
            "description": "How big; see M(celeryops.platform.manifests).",
        },
        "demo_ports": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "description": ["Ports", "of C(it)."],
            "options": {"port": {"type": "int", "required": True, "description": "The number."}},
        },
        "demo_made": {"type": "str", "description": "Worked out."},
    }
    page = REFERENCE["readme"](
        "demo",
        {"main": {"short_description": "A demo", "options": options}},
        {"demo_size": "m", "demo_made": "{{ demo_size }}"},
    )
    assert page.startswith("# celeryops.platform.demo\n\nA demo.\n")
    told = [line for line in page.splitlines() if line.strip().startswith("- **")]
    assert told == [
        "- **`demo_made`** (str; default made from other variables): Worked out.",
        "- **`demo_ports`** (list of dict; required): Ports of `it`.",
        "  - **`port`** (int; required): The number.",
        "- **`demo_size`** (str; one of `s`, `m`; default `m`): How big; see `celeryops.platform.manifests`.",
    ]
