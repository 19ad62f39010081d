# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables against the options that roles declare: names that nobody reads, and what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import Finding

__all__ = ["unknown"]

# Names whose words differ by a letter or two; celery_worker_replicas and celery_worker_resources do not.
_CLOSE = 0.87


def unknown(variables: Mapping[str, Iterable[str]], roles: Mapping[str, Collection[str]]) -> list[Finding]:
    """`variables` maps a name to the hosts that have it, `roles` a role to its options.

    A name with a role's prefix that is no option of that role is a mistake. Any other name is one only when it
    resembles an option: the inventory may hold variables of its own.
    """
    options = sorted({option for names in roles.values() for option in names})
    known = set(options)
    findings = []
    for name in sorted(set(variables) - known):
        role = max((role for role in roles if name.startswith(f"{role}_")), key=len, default="")
        near = difflib.get_close_matches(name, options, n=1, cutoff=0.6 if role else _CLOSE)
        if not role and not near:
            continue
        meant = f"Did you mean {near[0]}?" if near else "No role takes such an option."
        hosts = sorted(variables[name])
        shown = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
        findings.append(
            Finding(
                "variable",
                f"an option of role {role}" if role else "a name that does not resemble an option",
                f"{name} (for {shown})",
                f"{meant} Correct the name, or remove the variable.",
            )
        )
    return findings
