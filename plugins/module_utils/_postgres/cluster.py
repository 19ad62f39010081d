# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL cluster under Patroni, reached through the Kubernetes API: objects, and psql in its pods."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import ExecResult, exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import patroni, plan

__all__ = ["Credentials", "PatroniCluster"]

CONTAINER = "postgresql"
_CONFIG_FILE = "/etc/patroni/patroni.yml"
_POLL_SECONDS = 0.5
_ROTATED = "celeryops.platform/rotated-at"


@dataclass(frozen=True)
class Credentials:
    """Who signs in with what, since when (RFC 3339), and the Secret's version."""

    username: str
    password: str = field(repr=False)
    since: str
    version: str


class PatroniCluster:
    """One cluster by namespace and name. Every call is one request to the API server."""

    def __init__(self, api: Api, namespace: str, name: str) -> None:
        self.api = api
        self.namespace = namespace
        self.name = name

    def exists(self) -> bool:
        """Whether the cluster was ever applied here."""
        return self._object("apps/v1", "StatefulSet", self.name) is not None

    def leader(self) -> str | None:
        """The pod that holds the lock now."""
        return patroni.leader(self._object("v1", "Endpoints", self.name))

    def synchronous(self) -> tuple[str, ...]:
        """The pods for which commits wait now; empty outside of synchronous mode, and while there is none."""
        return patroni.synchronous(self._object("v1", "Endpoints", f"{self.name}-sync"))

    def members(self) -> tuple[patroni.Member, ...]:
        selector = f"app.kubernetes.io/name=postgresql,app.kubernetes.io/instance={self.name}"
        pods = self.api.list("v1", "Pod", namespace=self.namespace, label_selector=selector)
        return tuple(sorted(map(patroni.member, pods), key=lambda member: member.pod))

    def has_leader(self) -> bool:
        """Whether a pod holds the lock that is ready and runs."""
        holder = self.leader()
        return any(m.pod == holder and m.ready and m.state == "running" for m in self.members())

    def wait_for_leader(self, timeout: float) -> str:
        """The leader, once its pod is ready. Raises CeleryOpsError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            holder, members = self.leader(), self.members()
            if any(m.pod == holder and m.ready and m.state == "running" for m in members):
                return str(holder)
            if time.monotonic() > deadline:
                pods = ", ".join(f"{m.pod}: {m.role}, {m.state}" for m in members)
                raise CeleryOpsError(
                    f"PostgreSQL cluster '{self.name}' has no ready leader",
                    expected=f"a pod that holds the lock and is ready within {timeout:g} s",
                    found=f"lock: {holder or 'nobody'}; pods: {pods or 'none'}",
                    remedy=f"Read the logs of StatefulSet {self.name} in namespace {self.namespace}.",
                )
            time.sleep(_POLL_SECONDS)

    def password(self, secret: str, role: str) -> str | None:
        """The password of who signs in for a role; None when there is no such Secret."""
        found = self.credentials(secret, role)
        return found.password if found else None

    def credentials(self, secret: str, role: str) -> Credentials | None:
        """Who signs in for a role, and with what, as a Secret of the operator's form says; None without a Secret."""
        found = self._object("v1", "Secret", secret)
        if found is None:
            return None
        data = {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
        if data.get("username") not in plan.users(role) or not data.get("password"):
            raise CeleryOpsError(
                f"Secret '{secret}' does not hold the credentials of '{role}'",
                expected=f"keys username (with the value '{role}' or '{plan.users(role)[1]}') and password (not empty)",
                found=f"keys {', '.join(sorted(data)) or 'none'}; username '{data.get('username', '')}'",
                remedy="Correct the Secret, or delete it to have a new password made.",
            )
        metadata = found["metadata"]
        rotated = (metadata.get("annotations") or {}).get(_ROTATED) or metadata.get("creationTimestamp", "")
        return Credentials(data["username"], data["password"], rotated, metadata["resourceVersion"])

    def write_credentials(self, secret: str, before: Credentials, username: str, password: str, now: str) -> None:
        """Replaces the credentials of `before`; a Secret that changed meanwhile is a conflict. `now` is noted."""
        values = {"username": username, "password": password}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        metadata = {"resourceVersion": before.version, "annotations": {_ROTATED: now}}
        self.api.patch(self._ref("v1", "Secret", secret), {"metadata": metadata, "data": data})

    def configuration(self) -> dict[str, Any]:
        """Patroni's settings for the whole cluster; empty before the first start."""
        annotations = (self._object("v1", "Endpoints", f"{self.name}-config") or {}).get("metadata", {})
        result = json.loads((annotations.get("annotations") or {}).get("config") or "{}")
        return dict(result)

    def write_configuration(self, configuration: Mapping[str, Any]) -> None:
        """Stores new settings as Patroni itself does; every member reads them at once."""
        text = json.dumps(configuration, separators=(",", ":"))
        body = {"metadata": {"annotations": {"config": text}}}
        self.api.patch(self._ref("v1", "Endpoints", f"{self.name}-config"), body)

    def restart(self, pod: str) -> None:
        """Restarts PostgreSQL, not the pod, and returns when it is up."""
        command = ["patronictl", "-c", _CONFIG_FILE, "restart", "--force", "--pending", self.name, pod]
        result = self._exec(pod, command, None, 120)
        if result.rc != 0 or "Success" not in result.stdout:
            raise CeleryOpsError(
                f"PostgreSQL in pod '{pod}' was not restarted",
                expected="patronictl to report success",
                found=(result.stdout + result.stderr).strip() or f"exit code {result.rc}",
                remedy=f"Run `patronictl -c {_CONFIG_FILE} list` in the pod for its state.",
            )

    def sql(self, pod: str, statements: str, timeout: float = 60) -> str:
        """Runs statements as the superuser over the pod's own socket; returns what psql printed."""
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"]
        result = self._exec(pod, [*command, "-d", "postgres", "-f", "-"], statements, timeout)
        return self._answer(result, f"PostgreSQL in pod '{pod}'")

    def sql_as(self, pod: str, statements: str, *, host: str, database: str, user: str, password: str) -> str:
        """Runs statements from a pod as any client would: through a Service, with a password.

        The password goes over the command's input: arguments would stand in the API server's audit log.
        """
        psql = (
            "IFS= read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=5; "
            'exec psql -X -q -A -t -w -v ON_ERROR_STOP=1 -v VERBOSITY=terse -h "$1" -d "$2" -U "$3" -f -'
        )
        command = ["sh", "-c", psql, "psql", host, database, user]
        result = self._exec(pod, command, f"{password}\n{statements}", 30)
        return self._answer(result, f"Database '{database}' at {host} as '{user}'")

    def _answer(self, result: ExecResult, what: str) -> str:
        if result.rc == 0:
            return result.stdout.strip()
        raise CeleryOpsError(
            f"{what} refused a statement",
            expected="psql to end with 0",
            found=result.stderr.strip() or result.stdout.strip() or f"exit code {result.rc}",
            remedy=f"The logs of the pods of '{self.name}' in namespace {self.namespace} say more.",
        )

    def _exec(self, pod: str, command: list[str], stdin: str | None, timeout: float) -> ExecResult:
        return exec_in_pod(self.api, self.namespace, pod, command, container=CONTAINER, stdin=stdin, timeout=timeout)

    def _ref(self, api_version: str, kind: str, name: str) -> ObjectRef:
        return ObjectRef(api_version, kind, name, self.namespace)

    def _object(self, api_version: str, kind: str, name: str) -> dict[str, Any] | None:
        return self.api.get(self._ref(api_version, kind, name))
