# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one Redis server says of itself: ROLE and INFO, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["MASTER", "REPLICA", "Replication", "parse_info", "replication", "role_name"]

MASTER = "master"
REPLICA = "replica"


@dataclass(frozen=True)
class Replication:
    """One server's own account. Offsets are bytes of the replication stream."""

    role: str
    run_id: str
    offset: int
    keys: int = 0
    loading: bool = False
    connected_replicas: int = 0
    master_host: str = ""
    master_port: int = 0
    link: str = ""


def role_name(word: str) -> str:
    """ROLE's word in this collection's terms: Redis still answers C(slave)."""
    return REPLICA if word == "slave" else word


def parse_info(text: str) -> dict[str, str]:
    """The ``key:value`` lines of INFO; headings and empty lines are left out."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {key: value.strip() for key, value in pairs}


def _keys(info: Mapping[str, str]) -> int:
    # "db0:keys=3,expires=0,avg_ttl=0": a database without keys has no line.
    databases = (value for key, value in info.items() if key.startswith("db") and key[2:].isdigit())
    return sum(int(value.split(",", 1)[0].removeprefix("keys=")) for value in databases)


def replication(role: str, info: Mapping[str, str]) -> Replication:
    """The account given by ROLE's first word and all of INFO.

    A replica's offset is what it has applied, a master's what it has written.
    """
    name = role_name(role)
    offset = info.get("slave_repl_offset" if name == REPLICA else "master_repl_offset", "0")
    return Replication(
        role=name,
        run_id=info.get("run_id", ""),
        offset=int(offset),
        keys=_keys(info),
        loading=info.get("loading", "0") != "0",
        connected_replicas=int(info.get("connected_slaves", "0")),
        # A name may end with a dot, which says that it is the whole name.
        master_host=info.get("master_host", "").rstrip("."),
        master_port=int(info.get("master_port", "0")),
        link=info.get("master_link_status", "") if name == REPLICA else "",
    )
