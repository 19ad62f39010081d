# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What site.yml puts right on a platform that was damaged: broker URL, beat's tables, every pod gone.

All is damaged at once and healed by one run; each test looks at one part of what that run did.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import ROOT

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.slow]

NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
DATABASE = "jewelry-shop-db"
OWNER = "jewelry_app"
SECRET = f"jewelry-app.{DATABASE}.credentials.postgresql.acid.zalan.do"
CONFIG = ObjectRef("v1", "ConfigMap", "app-config", NAMESPACE)
MASTER_URL = f"redis://redis-master.{NAMESPACE}.svc.cluster.local:6379/0"
BALANCED_URL = f"redis://redis.{NAMESPACE}.svc.cluster.local:6379/0"
INVENTORY = os.environ.get("PLATFORM_INVENTORY", "molecule/inventory")


@dataclass(frozen=True)
class Healed:
    """The damaged platform after one run: the run's results by task name, and what was written before."""

    tasks: dict[str, dict[str, Any]]
    mark: str
    pods_before: set[str]


def run_site(folder: Path) -> dict[str, dict[str, Any]]:
    """Runs site.yml to its end; the results on localhost by task name."""
    record = folder / f"{uuid.uuid4().hex}.jsonl"
    done = subprocess.run(
        ["ansible-playbook", "-i", INVENTORY, "--diff", "site.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/helpers/callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "record_results",
            "RECORD_RESULTS": str(record),
        },
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    entries = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return {entry["task"]: entry["result"] for entry in entries if entry["host"] == "localhost"}


def sql(api: Api, statements: str) -> str:
    """As the shop's own database user, directly at the primary."""
    database = PatroniCluster(api, NAMESPACE, DATABASE)
    pod = database.wait_for_leader(120)
    password = database.password(SECRET, OWNER)
    assert password is not None
    return database.sql_as(
        pod, statements, host=DATABASE, database="jewelry_shop", user=OWNER, password=password
    ).strip()


def redis_cli(api: Api, *words: str) -> str:
    """A command at the master, whoever it is; the password is in the container's environment."""
    command = ["redis-cli", "-h", "redis-master", *words]
    done = exec_in_pod(api, NAMESPACE, "redis-0", command, timeout=10)
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def pod_uids(api: Api) -> set[str]:
    return {pod["metadata"]["uid"] for pod in api.list("v1", "Pod", NAMESPACE)}


@pytest.fixture(scope="module")
def healed(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Healed]:
    mark = f"mark_{uuid.uuid4().hex[:8]}"
    sql(cluster, f"CREATE TABLE {mark} (word text); INSERT INTO {mark} VALUES ('kept');")
    assert redis_cli(cluster, "SET", mark, "kept") == "OK"
    try:
        sql(cluster, "DROP TABLE django_celery_beat_periodictask, django_celery_beat_crontabschedule CASCADE;")
        cluster.patch(CONFIG, {"data": {"CELERY_BROKER_URL": BALANCED_URL}}, field_manager="kubectl-edit")
        before = pod_uids(cluster)
        for pod in cluster.list("v1", "Pod", NAMESPACE):
            cluster.delete(ObjectRef.of(pod))
        yield Healed(run_site(tmp_path_factory.mktemp("site")), mark, before)
    finally:
        sql(cluster, f"DROP TABLE IF EXISTS {mark};")
        redis_cli(cluster, "DEL", mark)


def test_the_broker_url_is_corrected_and_named(healed: Healed, cluster: Api) -> None:
    (result,) = [one for one in healed.tasks.values() if "urls" in one and one.get("changed")]
    assert BALANCED_URL in json.dumps(result)
    assert "kubectl-edit" in json.dumps(result)
    config = cluster.get(CONFIG)
    assert config is not None
    assert config["data"]["CELERY_BROKER_URL"] == MASTER_URL


def test_beats_tables_are_back(healed: Healed, cluster: Api) -> None:
    (result,) = [one for one in healed.tasks.values() if "repaired" in one]
    assert result["changed"] is True
    assert int(sql(cluster, "SELECT count(*) FROM django_celery_beat_periodictask;")) >= 22


def test_the_platform_proved_itself_again(healed: Healed) -> None:
    (result,) = [one for one in healed.tasks.values() if "checks" in one and "pods" in one]
    assert [check["name"] for check in result["checks"] if not check["passed"]] == []
    names = {check["name"] for check in result["checks"]}
    assert {"a task through each queue", "beat's tasks run", "broker is the master"} <= names


def test_rows_and_keys_outlive_every_pod(healed: Healed, cluster: Api) -> None:
    assert pod_uids(cluster).isdisjoint(healed.pods_before)
    assert sql(cluster, f"SELECT word FROM {healed.mark};") == "kept"
    assert redis_cli(cluster, "GET", healed.mark) == "kept"


def test_nothing_is_left_to_do(healed: Healed, tmp_path: Path) -> None:
    assert healed.mark
    changed = [name for name, result in run_site(tmp_path).items() if result.get("changed")]
    assert changed == []


def test_a_run_that_fails_says_why(cluster: Api, tmp_path: Path) -> None:
    """In a namespace of its own Redis gets an image that no node has: the error has the doctor's first finding."""
    space = f"test-{uuid.uuid4().hex[:8]}"
    given = {"platform_namespace": space, "redis_image": "localhost/none-such:1", "redis_wait_timeout": 20}
    try:
        done = subprocess.run(
            ["ansible-playbook", "-i", INVENTORY, "site.yml", "--tags", "namespace,redis", "-e", json.dumps(given)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        )
        assert done.returncode != 0
        said = " ".join(done.stdout.partition("TASK [Fail with both]")[2].split())
        assert "not ready within 20 s" in said or "does not become ready" in said
        assert "The doctor's first finding: The image localhost/none-such:1 of" in said.replace("''", "'")
        assert "[image-missing, certain]" in said
    finally:
        cluster.delete(ObjectRef("v1", "Namespace", space))
