# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What redis-cli is told in a pod of Redis, where a broker's URL speaks of TLS."""

from __future__ import annotations

from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.visits import trust_of


def pod(*environment: dict[str, str]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "init"}, {"name": "redis", "env": list(environment)}]}}


def test_the_role_s_own_pods_know_the_authority() -> None:
    of_role = pod({"name": "POD_NAME"}, {"name": "REDIS_TLS", "value": "/etc/redis-tls"})
    assert trust_of(of_role) == ("--tls", "--cacert", "/etc/redis-tls/ca.crt")


def test_others_do_not() -> None:
    assert trust_of(pod({"name": "POD_NAME"})) == ("--tls", "--insecure")
