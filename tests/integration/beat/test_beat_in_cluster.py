# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both modules on the platform itself, with the image and the environment of its beat."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster

pytestmark = [pytest.mark.cluster, pytest.mark.platform]

NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
DATABASE = "jewelry-shop-db"
SECRET = f"jewelry-app.{DATABASE}.credentials.postgresql.acid.zalan.do"
BEAT = ObjectRef("apps/v1", "Deployment", "celery-beat", NAMESPACE)
DEFAULTS = yaml.safe_load((ROOT / "roles/celery_app/defaults/main/schedule.yml").read_text())
SCHEDULE = {
    "entries": DEFAULTS["celery_app_schedule"],
    "timezone": DEFAULTS["celery_app_timezone"],
    "queues": DEFAULTS["celery_app_queues"],
    "priority_function": DEFAULTS["celery_app_priority_function"],
}
Module = Callable[..., dict[str, Any]]


@pytest.fixture
def module(cluster: Api) -> Module:
    """Runs one of the modules as role celery_app would."""
    beat = cluster.get(BEAT)
    assert beat is not None
    spec = beat["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    sources = container["envFrom"]
    given = {
        "namespace": NAMESPACE,
        "image": container["image"],
        "app": "config",
        "config_maps": [one["configMapRef"]["name"] for one in sources if "configMapRef" in one],
        "secrets": [one["secretRef"]["name"] for one in sources if "secretRef" in one],
        "env": [one for one in container["env"] if "valueFrom" in one],
        "pod_security_context": spec["securityContext"],
    }

    def run(name: str, *, check: bool = False, **args: Any) -> dict[str, Any]:
        result = run_module(name, {**given, **args}, check=check, diff=True)
        assert not result.get("failed"), result
        return result

    return run


@pytest.fixture
def sql(cluster: Api) -> Callable[[str], str]:
    """Statements as the application's user, on the primary."""
    database = PatroniCluster(cluster, NAMESPACE, DATABASE)

    def run(statements: str) -> str:
        pod = database.wait_for_leader(120)
        password = database.password(SECRET, "jewelry_app")
        assert password is not None
        return database.sql_as(
            pod, statements, host=DATABASE, database="jewelry_shop", user="jewelry_app", password=password
        )

    return run


@pytest.fixture
def entry(sql: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    """An entry that never fires while a test lasts, and is gone afterwards."""
    name = f"test {uuid.uuid4().hex[:8]}"
    yield {"name": name, "task": "config.celery.debug_task", "cron": "0 0 1 1 *", "queue": "celery", "priority": 10}
    sql(f"DELETE FROM django_celery_beat_periodictask WHERE name = '{name}'")


def test_the_platform_is_as_declared(module: Module, cluster: Api) -> None:
    """Six looks from a container that runs already: no pod is made."""
    before = cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["metadata"]["resourceVersion"]
    for check in (True, False):
        migrations = module("beat_migrations", apps=["all"], check=check)
        assert (migrations["changed"], migrations["pending"]) == (False, [])
        assert len([name for name in migrations["recorded"] if name.startswith("django_celery_beat.")]) >= 20
        schedule = module("beat_schedule", **SCHEDULE, check=check)
        assert (schedule["changed"], schedule["counts"]["unchanged"]) == (False, 22)
        both = module("beat_info", apps=["all"], **SCHEDULE, check=check)
        assert (both["asked"], both["migrated"], both["scheduled"], both["changed"]) == (True, True, True, False)
        assert both["migrations"]["recorded"] == migrations["recorded"]
        assert both["survey"]["tasks"] == schedule["survey"]["tasks"]
        assert {one["name"] for one in both["schedule"]} == {one["name"] for one in schedule["schedule"]}
    events = cluster.watch("v1", "Pod", NAMESPACE, resource_version=before, timeout=1)
    assert [pod["metadata"]["name"] for kind, pod in events if kind == "ADDED"] == []


def test_an_entry_is_checked_applied_checked_applied(module: Module, entry: dict[str, Any]) -> None:
    seen = [module("beat_info", entries=[entry])["scheduled"]]
    changed = [module("beat_schedule", entries=[entry], check=check)["changed"] for check in (True, False) * 2]
    assert changed == [True, True, False, False]
    seen.append(module("beat_info", entries=[entry])["scheduled"])
    assert seen == [False, True]


def ticks_of(cluster: Api, pod: str) -> bool:
    """Whether the probe in beat's pod finds its scheduler ticking."""
    beat = cluster.get(BEAT)
    assert beat is not None
    command = beat["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]
    return exec_in_pod(cluster, NAMESPACE, pod, command, timeout=30).rc == 0


@pytest.mark.slow
def test_dropped_tables_come_back_and_beat_works_again(module: Module, cluster: Api, sql: Callable[[str], str]) -> None:
    names = ("clockedschedule", "crontabschedule", "intervalschedule", "periodictask", "periodictasks", "solarschedule")
    for name in names:
        sql(f"DROP TABLE django_celery_beat_{name} CASCADE")
    seen = module("beat_info", **SCHEDULE)
    assert (seen["asked"], seen["migrated"], seen["scheduled"]) == (True, False, False)
    changed = [module("beat_migrations", check=check) for check in (True, False) * 2]
    assert [one["changed"] for one in changed] == [True, True, False, False]
    assert [one["app"] for one in changed[1]["repaired"]] == ["django_celery_beat"]
    assert module("beat_schedule", **SCHEDULE)["counts"]["create"] == 22

    # beat writes what it sent into the restored rows.
    deadline = time.monotonic() + 300
    sent = "SELECT count(*) FROM django_celery_beat_periodictask WHERE total_run_count > 0"
    while sql(sent).strip() in ("", "0"):
        assert time.monotonic() < deadline, "beat has not sent a task within 300 s"
        time.sleep(2)
    pods = cluster.list("v1", "Pod", NAMESPACE, label_selector="component=celery-beat")
    assert any(ticks_of(cluster, pod["metadata"]["name"]) for pod in pods)
