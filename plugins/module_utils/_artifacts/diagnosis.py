# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log of a build says: what goes on now, and why it failed."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["activity", "duration", "remedy", "tail"]

_NETWORK = (
    r"no such host|connection refused|Connection refused|i/o timeout|timed out|TLS handshake|x509:|CERTIFICATE_VERIFY"
    r"|Temporary failure|Could not resolve|Unable to connect|Network is unreachable|proxyconnect|50[234] "
    r"|Could not connect|Failed to establish|NewConnectionError|dial tcp|Max retries|403 Forbidden"
    r"|unexpected EOF"
)

_REGISTRIES = (
    (r"^go: |sumdb|GOPROXY|/@v/", "the Go module proxy", "GOPROXY"),
    (
        r"^(E|Err|W|Ign):|apt-get|mmdebstrap",
        "the Debian mirror",
        "/etc/apt/sources.list and apt's proxy settings",
    ),
    (
        r"pip|simple/|No matching distribution",
        "the Python package index",
        "pip's index-url, proxy and cert settings",
    ),
)


def _command(line: re.Match[str]) -> str:
    words = line[1].split()
    verbs = [w for w in words[1:] if w in ("build", "bud", "push", "pull", "install")]
    return " ".join([words[0].rpartition("/")[2], *verbs[:1]])


# Lines of a log, and the few words that a person who waits wants to read instead.
_ACTIVITIES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"go: downloading (\S+) .*", lambda line: f"downloading {line[1]}"),
    # go build -v names each package when it starts on it
    (r"(?:[\w.-]+(?:/[\w.~-]+)*/cmd/)?([\w.-]+(?:/[\w.~-]+)+)", lambda line: f"compiling {line[1]}"),
    (r"(?:\[\d+/\d+\] )?STEP \d+/\d+: (.*)", lambda line: line[1]),
    (r"\+ (.*)", _command),
    (r"I: (.*?)\.*", lambda line: line[1]),
    (r"Get:\d+ \S+ \S+ \S+ (\S+) .*", lambda line: f"fetching {line[1]}"),
    (r"((?:Unpacking|Setting up) \S+) .*", lambda line: line[1]),
)


def activity(line: str) -> str:
    """A few words about the last line of a log."""
    text = " ".join(line.split())
    for pattern, words in _ACTIVITIES:
        found = re.fullmatch(pattern, text)
        if found:
            return words(found)[:60]
    return text[:60]


def duration(seconds: float) -> str:
    """``2m05s``; below a minute ``7.3s``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"


def remedy(log: str) -> str:
    """What to do about a failed build: which registry did not answer, or where to look."""
    # the commands themselves, which the log holds too, prove nothing
    log = "\n".join(line for line in log.splitlines() if not line.startswith(("+ ", "STEP ")))
    if re.search(r"No space left on device|disk quota", log):
        return "make room on the file system of the cache, then run this again: finished artifacts are kept"
    if re.search(r"checksum mismatch|SECURITY ERROR|DO NOT MATCH THE HASHES|THESE PACKAGES DO NOT MATCH", log):
        return (
            "what a registry sent differs from the pinned hash: check the mirror in use; change the pin "
            "only if you trust the new content"
        )
    if "No module named pip" in log:
        return "set `artifacts_python` to a Python that has pip (Debian: python3-pip), or install a newer Go"
    if re.search(_NETWORK, log):
        trouble = [line for line in log.splitlines() if re.search(_NETWORK, line)]
        for pattern, registry, setting in _REGISTRIES:
            if any(re.search(pattern, line) for line in trouble):
                return f"{registry} could not be reached: check the network and {setting}, then run this again"
    if re.search(r"^E: (Unable to locate package|Package .* has no installation candidate)", log, re.MULTILINE):
        return "the Debian mirror has no such package: set another `artifacts_refresh` to build on today's lists"
    return "read the log; after the cause is removed run this again: finished artifacts are kept"


def tail(log: str, lines: int = 20) -> str:
    """The last lines of a log, without the credentials that a URL may carry."""
    text = "\n".join(log.rstrip().splitlines()[-lines:])
    return re.sub(r"://[^/@\s:]+:[^/@\s]+@", "://***@", text)
