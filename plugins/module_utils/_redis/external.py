# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis outside of the collection's care, asked from a short-lived pod as a client in the cluster would."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api
from ansible_collections.celeryops.platform.plugins.module_utils._kube.podrun import run_pod
from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import (
    Answer,
    Target,
    parse,
    script,
    total_timeout,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import RedisError
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Service, Survey

__all__ = ["External", "client_options"]

_CA_FILE = "/tmp/ca.pem"  # noqa: S108 - in a pod of its own
# The scheduler, the kubelet and the pull of an image that the node may have.
_START = 60.0
_SMALL = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}


def client_options(external: Mapping[str, Any]) -> list[str]:
    """What redis-cli is given beside host, port and database."""
    options = ["--user", external["username"]] if external["username"] else []
    if external["tls"]:
        options.append("--tls")
        if not external["verify_certificate"]:
            options.append("--insecure")
        elif external["ca"]:
            options += ["--cacert", _CA_FILE]
        # The certificate is made for the name, and the script connects to each of its addresses.
        options += ["--sni", external["host"]]
    return options


@dataclass(frozen=True)
class External:
    """It has no pods here: what a client gets is all there is to be known."""

    api: Api
    namespace: str
    external: Mapping[str, Any]
    secret: Mapping[str, str]
    connections: int
    timeout: int

    @classmethod
    def of(cls, api: Api, params: Mapping[str, Any]) -> External:
        return cls(
            api,
            params["namespace"],
            params["external"],
            params["password_secret"],
            params["connections"],
            params["timeout"],
        )

    @property
    def target(self) -> Target:
        return Target(self.external["host"], self.external["port"])

    def survey(self) -> Survey:
        """What clients get who write nothing."""
        (answers,) = self.ask([self.target], Survey(()), write=False)
        host, port = self.external["host"], self.external["port"]
        return Survey((), (Service("external", host, port, answers=answers, proxied=True),), external=True)

    def ask(self, targets: Sequence[Target], survey: Survey, *, write: bool) -> tuple[tuple[Answer, ...], ...]:
        """What a client of each target gets over ``connections`` new connections."""
        del survey
        options = tuple(client_options(self.external))
        wanted = [replace(one, connections=self.connections, options=options) for one in targets]
        mark = secrets.token_hex(8)
        text = script(wanted, "", mark=mark, seconds=self.timeout, write=write)
        done = run_pod(self.api, self._pod(text), timeout=total_timeout(wanted, self.timeout) + _START)
        if done.exit_code != 0:
            raise RedisError(
                "The pod could not ask Redis as a client",
                expected="sh, timeout, getent, sed and redis-cli in the image",
                found=done.log.strip()[-500:] or f"exit status {done.exit_code}",
                remedy="use an image that has them, such as the one of role artifacts",
            )
        return parse(done.log, len(targets), mark)

    def _pod(self, text: str) -> dict[str, Any]:
        environment: list[dict[str, Any]] = []
        if self.secret["name"]:
            reference = {"secretKeyRef": {"name": self.secret["name"], "key": self.secret["key"]}}
            environment.append({"name": "REDISCLI_AUTH", "valueFrom": reference})
        if self.external["ca"]:
            environment.append({"name": "CA", "value": self.external["ca"]})
            text = f'printf "%s\\n" "$CA" >{shlex.quote(_CA_FILE)}\n{text}'
        container = {
            "name": "ask",
            "image": self.external["image"],
            "command": ["sh", "-c", text],
            "env": environment,
            "resources": _SMALL,
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "containers": [container],
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        metadata = {"name": "redis-external", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
