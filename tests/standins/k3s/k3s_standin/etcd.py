# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd through its JSON gateway: members, the bootstrap keys, snapshots."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .https import Client, HttpError, context
from .pki import Pki

__all__ = ["Etcd", "Member"]


@dataclass(frozen=True)
class Member:
    """One member; one that has not started yet has no name."""

    id: str
    name: str
    peer: str


class Etcd:
    """One endpoint."""

    def __init__(self, pki: Pki, url: str = "https://127.0.0.1:2379") -> None:
        certificate = (pki.path("etcd/client.crt"), pki.path("etcd/client.key"))
        self._client = Client(url, context(pki.path("etcd/server-ca.crt"), certificate), timeout=60)

    def healthy(self) -> bool:
        """Whether it answers and has a leader."""
        try:
            return bool(json.loads(self._client.get("/health")).get("health") == "true")
        except (OSError, HttpError, ValueError):
            return False

    def members(self) -> list[Member]:
        found = self._client.json("POST", "/v3/cluster/member/list", {})
        return [Member(each["ID"], each.get("name", ""), each["peerURLs"][0]) for each in found["members"]]

    def add(self, peer: str) -> list[Member]:
        """Announce a member that is about to start; returns all members with it."""
        found = self._client.json("POST", "/v3/cluster/member/add", {"peerURLs": [peer]})
        return [Member(each["ID"], each.get("name", ""), each["peerURLs"][0]) for each in found["members"]]

    def remove(self, member: Member) -> None:
        self._client.json("POST", "/v3/cluster/member/remove", {"ID": member.id})

    def bootstrap(self) -> dict[str, dict[str, str]]:
        """Bundles of authorities by their keys; the key tells with which token a bundle was stored."""
        body = {"key": _encode(b"/bootstrap/"), "range_end": _encode(b"/bootstrap0")}
        found = self._client.json("POST", "/v3/kv/range", body).get("kvs", [])
        return {base64.b64decode(each["key"]).decode(): json.loads(base64.b64decode(each["value"])) for each in found}

    def store(self, key: str, bundle: Mapping[str, str]) -> None:
        body = {"key": _encode(key.encode()), "value": _encode(json.dumps(dict(bundle)).encode())}
        self._client.json("POST", "/v3/kv/put", body)

    def snapshot(self, target: Path) -> None:
        """Write a snapshot as etcd's own client does, with its checksum at the end."""
        partial = target.with_name(target.name + ".part")
        with partial.open("wb") as file:
            for line in self._client.lines("/v3/maintenance/snapshot", {}):
                if "error" in line:
                    raise OSError(f"etcd broke off the snapshot: {line['error']}")
                file.write(base64.b64decode(line["result"].get("blob", "")))
        content = partial.read_bytes()
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            raise OSError(f"the snapshot in {partial} does not match its checksum")
        partial.rename(target)


def _encode(value: bytes) -> Any:
    return base64.b64encode(value).decode()
