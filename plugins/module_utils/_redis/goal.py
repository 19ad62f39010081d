# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients are to be told in each mode, and where that leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Target

__all__ = ["CA_FILE", "MODES", "URL_KEYS", "Goal", "external_goal", "goal_of"]

# Where role celery_app lets pods of the application find the certificate of the authority.
CA_FILE = "/etc/redis-tls/ca.crt"

MODES = ("proxy", "sentinel", "master", "external")
URL_KEYS = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")


@dataclass(frozen=True)
class Goal:
    """The wanted keys of a mode, and the target by which a client ends up that is given them."""

    url: str
    host: str
    port: int
    target: Target
    more: tuple[tuple[str, str], ...] = ()

    @property
    def data(self) -> dict[str, str]:
        """All keys that follow from where the master is. No credentials: pods compose them from a Secret."""
        keys = {"REDIS_HOST": self.host, "REDIS_PORT": str(self.port), **dict.fromkeys(URL_KEYS, self.url)}
        return {**keys, **dict(self.more)}


def _query(verify: bool, ca_file: str) -> str:
    """What a URL says of TLS. Celery takes no rediss:// URL without the first part."""
    trust = f"?ssl_cert_reqs={'required' if verify else 'none'}"
    return trust + (f"&ssl_ca_certs={quote(ca_file, safe='/')}" if ca_file else "")


def goal_of(params: Mapping[str, Any], master: str, sentinels: Sequence[str], *, tls: bool = False) -> Goal:
    """For a Redis of the cluster whose master has the name ``master``; ``sentinels`` are the Sentinels' names."""
    query = _query(True, params["ca_file"]) if tls else ""
    suffix = f"{params['namespace']}.svc.{params['cluster_domain']}"
    database, port = params["database"], params["port"]
    if params["mode"] == "sentinel":
        return _sentinel_goal(params, master, sentinels, query)
    host = f"{params['proxy']['service']}.{suffix}" if params["mode"] == "proxy" else master
    url = f"redis{'s' if tls else ''}://{host}:{port}/{database}{query}"
    return Goal(url, host, port, Target(host, port, database))


def _sentinel_goal(params: Mapping[str, Any], master: str, sentinels: Sequence[str], query: str) -> Goal:
    port, database = params["sentinel"]["port"], params["database"]
    urls = ";".join(f"sentinel://{name}:{port}/{database}{query}" for name in sentinels)
    # There is no name that always leads to the master: who connects by host and port alone asks a Sentinel.
    host = sentinels[0].split(".", 1)[1] if sentinels else ""
    more = (("REDIS_SENTINEL_MASTER", params["sentinel"]["master_name"]),)
    return Goal(urls, host, port, Target(master, params["port"], database), more)


def external_goal(params: Mapping[str, Any]) -> Goal:
    """For a Redis that is there already."""
    external = params["external"]
    host, port, database = external["host"], external["port"], params["database"]
    query = _query(external["verify_certificate"], external["ca_file"]) if external["tls"] else ""
    more = (("REDIS_USERNAME", external["username"]),) if external["username"] else ()
    url = f"redis{'s' if external['tls'] else ''}://{host}:{port}/{database}{query}"
    return Goal(url, host, port, Target(host, port, database), more)
