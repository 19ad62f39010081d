# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How this host reaches the registries, rendered for a build that must not keep any of it.

The files made here are mounted at /run/host during a build; pip and apt find them through the build arguments
PIP_CONFIG_FILE and APT_CONFIG, which no layer and no image configuration records.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping

__all__ = ["MOUNT", "apt_conf", "debian_sources", "pip_conf", "pip_environment", "pip_settings"]

MOUNT = "/run/host"


def apt_conf(dump: str, *, certificates: str, sources: str = "") -> str:
    """The Acquire settings (proxies, timeouts, checks) out of ``apt-config dump``, the bundle, and the sources.

    The last two are paths as apt sees them; empty ones are left out.
    """
    wanted = (line for line in dump.splitlines() if line.startswith("Acquire::") and not line.endswith(' "";'))
    text = "".join(f"{line}\n" for line in wanted if "::IndexTargets::" not in line)
    if certificates:
        text += f'Acquire::https::CaInfo "{certificates}";\n'
    if sources:
        text += f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "/dev/null";\n'
    return text


def pip_settings(listing: str) -> dict[str, str]:
    """``pip config list`` as names without their section; what the environment says wins over files."""
    found: dict[str, str] = {}
    environment: dict[str, str] = {}
    for line in listing.splitlines():
        name, separator, value = line.partition("=")
        match = re.fullmatch(r"(global|install|:env:)\.([\w-]+)", name)
        if not separator or not match:
            continue
        into = environment if match[1] == ":env:" else found
        try:
            into[match[2]] = str(ast.literal_eval(value))
        except (ValueError, SyntaxError):
            into[match[2]] = value
    return {**found, **environment}


def pip_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What PIP_* variables say, for a host whose Python has no pip to ask."""
    return {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_")
    }


# Settings that say where packages come from; the rest (user, target...) is about this host.
_PIP = (
    "index-url",
    "extra-index-url",
    "no-index",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)


def pip_conf(settings: Mapping[str, str], *, certificates: str, find_links: Iterable[str]) -> str:
    """A pip.conf for a build. ``certificates`` is the bundle's path inside the build, or empty."""
    lines = ["[global]", "disable-pip-version-check = true"]
    # pip reads a multi-valued setting as words, and an indented line continues it
    lines += [f"{name} = {' '.join(settings[name].split())}" for name in _PIP if settings.get(name)]
    if certificates:
        lines.append(f"cert = {certificates}")
    links = " ".join(find_links)
    if links:
        lines.append(f"find-links = {links}")
    return "\n".join(lines) + "\n"


def _stanzas(text: str) -> Iterable[str]:
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        if lines:
            yield "\n".join(lines)


def debian_sources(files: Mapping[str, str], *, host_suite: str, suite: str) -> str:
    """The host's Debian sources for ``suite``, one line each; empty when the host has none for its own suite.

    ``files`` maps the names of /etc/apt/sources.list and sources.list.d/* to their text. Only sources whose
    suite is the host's (with -updates and -security) count: these are Debian's own or mirrors of it.
    """
    wanted = re.compile(rf"{re.escape(host_suite)}(-updates|-security|/updates)?")
    lines: list[str] = []

    def add(uri: str, there: str, components: str) -> None:
        match = wanted.fullmatch(there)
        if match:
            lines.append(f"deb {uri} {suite}{match[1] or ''} {components}")

    for name, text in sorted(files.items()):
        if name.endswith(".sources"):
            for stanza in _stanzas(text):
                fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.+)$", stanza, re.MULTILINE))
                if "deb" not in fields.get("Types", "").split() or fields.get("Enabled") == "no":
                    continue
                for uri in fields.get("URIs", "").split():
                    for there in fields.get("Suites", "").split():
                        add(uri, there, fields.get("Components", "main"))
        elif name.endswith(".list"):
            for found in re.finditer(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$", text, re.MULTILINE):
                add(found[1], found[2], found[3].strip())
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))
