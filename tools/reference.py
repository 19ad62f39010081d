#!/usr/bin/env python3
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes README.md of every role from its argument specification, and meta/main.yml where there is none.

Usage: tools/reference.py [--check]   With --check it writes nothing, and fails when something would be written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
Spec = Mapping[str, Any]

META = """---
galaxy_info:
  author: The celeryops maintainers
  description: {description}
  license: GPL-3.0-or-later
  min_ansible_version: "2.19"
  platforms:
    - name: Debian
      versions: [bookworm]
dependencies: []
"""


def main(words: list[str]) -> int:
    stale = [path for path, text in files() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in words:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what its role's specification makes; run tools/reference.py")
        return 1 if stale else 0
    for path, text in files():
        if path in stale:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


def files() -> Iterator[tuple[Path, str]]:
    """Every file that is made, with its text."""
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        role = path.parents[1]
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        yield role / "README.md", readme(role.name, entries, defaults(role))
        if not (role / "meta/main.yml").exists():
            described = entries.get("main", next(iter(entries.values())))["short_description"]
            yield role / "meta/main.yml", META.format(description=described)


def defaults(role: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted((role / "defaults").rglob("*.yml")):
        found |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return found


def readme(role: str, entries: Mapping[str, Spec], given: Spec) -> str:
    """The page of one role; options that several entry points share are listed once."""
    lines = [f"# celeryops.platform.{role}", ""]
    shown: set[str] = set()
    # The entry point that most people name comes first.
    for name, entry in sorted(entries.items(), key=lambda one: (one[0] != "main", one[0])):
        if name != "main":
            lines += [f"## Entry point `{name}`", ""]
        lines += [f"{sentence(entry['short_description'])}", ""]
        for text in listed(entry.get("description")):
            lines += [plain(text), ""]
        options = {key: spec for key, spec in (entry.get("options") or {}).items() if key not in shown}
        shown |= set(options)
        if options:
            lines += ["### Variables" if name != "main" else "## Variables", ""]
            lines += [line for key, spec in sorted(options.items()) for line in variable(key, spec, given, 0)]
            lines.append("")
        elif entry.get("options"):
            lines += ["Its variables are those above.", ""]
    lines += [
        f"Made from the role's argument specification; `ansible-doc -t role celeryops.platform.{role}` shows the same.",
        "",
    ]
    return "\n".join(lines)


def variable(name: str, spec: Spec, given: Spec, depth: int) -> Iterator[str]:
    kind = spec.get("type", "str")
    if kind == "list" and "elements" in spec:
        kind = f"list of {spec['elements']}"
    facts = [kind]
    if spec.get("required"):
        facts.append("required")
    if "choices" in spec:
        facts.append("one of " + ", ".join(f"`{choice}`" for choice in spec["choices"]))
    if "default" in spec or name in given:
        facts.append(f"default {literal(spec.get('default', given.get(name)))}")
    told = " ".join(plain(text) for text in listed(spec.get("description")))
    yield f"{'  ' * depth}- **`{name}`** ({'; '.join(facts)}): {told}"
    for key, inner in (spec.get("options") or {}).items():
        yield from variable(key, inner, {}, depth + 1)


def literal(value: Any) -> str:
    """A default as one line of YAML; what is worked out from other variables is not repeated."""
    if isinstance(value, str) and "{{" in value:
        return "made from other variables"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()
    if "{{" in text or len(text) > 100:
        return "see `defaults`"
    return f"`{text}`"


def listed(text: Any) -> list[str]:
    return [str(one) for one in text] if isinstance(text, list) else [str(text)] if text else []


def sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def plain(text: str) -> str:
    """Ansible's markup as Markdown."""
    text = re.sub(r"\b[COVEM]\(([^)]*)\)", r"`\1`", text)
    text = re.sub(r"\b[BI]\(([^)]*)\)", r"*\1*", text)
    return re.sub(r"\bU\(([^)]*)\)", r"<\1>", " ".join(text.split()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
