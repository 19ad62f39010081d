# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace with a PostgreSQL of its own, made by the role from the images that the platform runs with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import run_module
from helpers.plays import run_roles

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster

NAME = "shop-db"
SUFFIX = f"{NAME}.credentials.postgresql.acid.zalan.do"
OWNER = {"user": "jewelry_app", "database": "jewelry_shop", "secret": f"jewelry-app.{SUFFIX}"}
SMALL = {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"cpu": "200m", "memory": "384Mi"}}
TINY = {"requests": {"cpu": "25m", "memory": "32Mi"}, "limits": {"cpu": "50m", "memory": "64Mi"}}


def image_of(api: Api, kind: str, name: str) -> str:
    """What a workload of the platform runs with, and every node therefore has."""
    for found in api.list("apps/v1", kind):
        if found["metadata"]["name"] == name:
            return str(found["spec"]["template"]["spec"]["containers"][0]["image"])
    return pytest.fail(f"no {kind} named {name} in the cluster: bring the platform up first")


def until(holds: Callable[[], bool], what: str, timeout: float = 300) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come to pass within {timeout:g} s"
        time.sleep(0.3)


@dataclass(frozen=True)
class Place:
    api: Api
    namespace: str
    folder: Path
    variables: dict[str, Any]

    @property
    def database(self) -> PatroniCluster:
        return PatroniCluster(self.api, self.namespace, NAME)

    def play(self, *options: str, **variables: Any) -> tuple[int, dict[str, int], str]:
        """Runs roles namespace and postgresql, or `roles`; the exit status, the play's counts, and the output."""
        roles = variables.pop("roles", ["celeryops.platform.namespace", "celeryops.platform.postgresql"])
        given = {
            "platform_namespace": self.namespace,
            "postgresql_name": NAME,
            "postgresql_image": image_of(self.api, "StatefulSet", "jewelry-shop-db"),
            "postgresql_pooler_image": image_of(self.api, "Deployment", "jewelry-shop-db-pooler"),
            "postgresql_resources": SMALL,
            "postgresql_wait_timeout": 600,
            "postgresql_pooler_resources": TINY,
            **self.variables,
            **variables,
        }
        return run_roles(self.folder, roles, given, *options)

    def applied(self, *options: str, **variables: Any) -> int:
        """Runs the roles, which must succeed; the number of changes."""
        status, counts, output = self.play(*options, **variables)
        assert status == 0, output[-8000:]
        return counts["changed"]

    def info(self, *endpoints: dict[str, str], wait: int = 30, **arguments: Any) -> Json:
        where = {"kubeconfig": os.environ["KUBECONFIG"], "namespace": self.namespace, "name": NAME}
        given = {**where, "endpoints": list(endpoints), "wait": wait, **arguments}
        return run_module("postgresql_cluster_info", given)

    def sql(self, statements: str, host: str = f"{NAME}-pooler") -> str:
        """As the shop does: with its own password, through a Service."""
        password = self.database.password(OWNER["secret"], OWNER["user"])
        assert password is not None
        pod = self.database.wait_for_leader(120)
        return self.database.sql_as(
            pod, statements, host=host, database=OWNER["database"], user=OWNER["user"], password=password
        )

    def pods(self, component: str) -> list[Json]:
        found = self.api.list("v1", "Pod", self.namespace, label_selector=f"component={component}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def exists(self, api_version: str, kind: str, name: str) -> bool:
        return self.api.get(ObjectRef(api_version, kind, name, self.namespace)) is not None
