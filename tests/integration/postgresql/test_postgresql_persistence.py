# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows and queued tasks that were there before every pod was replaced: all of them are there, and the tasks run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers.modules import run_module
from postgresql_place import OWNER, Place, image_of, until

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Json, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.podrun import PodRun, run_pod

pytestmark = [pytest.mark.cluster, pytest.mark.heavy]

TASKS = 20
APPLICATION = f"""
import os, urllib.parse
import psycopg
from celery import Celery
from celery.worker import state
password = urllib.parse.quote(os.environ["REDIS_PASSWORD"], safe="")
app = Celery("kept", broker=os.environ["CELERY_BROKER_URL"].replace("://", f"://:{{password}}@", 1))
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_default_queue="kept", task_ignore_result=True)
def database():
    return psycopg.connect(host=os.environ["DATABASE_HOST"], dbname=os.environ["DATABASE_NAME"], autocommit=True,
                           user=os.environ["DATABASE_USER"], password=os.environ["DATABASE_PASSWORD"])
@app.task(name="kept.note")
def note(number):
    with database() as connection:
        connection.execute("INSERT INTO ran VALUES (%s)", (number,))
        (count,) = connection.execute("SELECT count(*) FROM ran").fetchone()
    if count == {TASKS}:
        state.should_stop = 0
"""
SEND = f"""
for number in range({TASKS}):
    note.delay(number)
print("sent")
"""
WORK = """
app.worker_main(["worker", "--pool=solo", "--loglevel=warning", "--without-gossip", "--without-mingle"])
print("worked")
"""


@pytest.fixture(scope="module")
def place(make_place: Callable[..., Place]) -> Place:
    place = make_place(postgresql_profile="small")
    roles = [f"celeryops.platform.{name}" for name in ("namespace", "redis", "postgresql")]
    images = {
        "redis_image": image_of(place.api, "StatefulSet", "redis"),
        "redis_proxy_image": image_of(place.api, "Deployment", "redis-proxy"),
    }
    assert place.applied(roles=roles, **images) > 0
    return place


def run(place: Place, name: str, program: str) -> PodRun:
    """In a pod of the application's image and configuration."""
    redis = {"name": "redis-auth", "key": "password"}
    env = [{"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": redis}}] + [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": OWNER["secret"], "key": key}}}
        for variable, key in (("DATABASE_USER", "username"), ("DATABASE_PASSWORD", "password"))
    ]
    container: Json = {
        "name": name,
        "image": image_of(place.api, "Deployment", "celery-worker"),
        "command": ["python", "-c", APPLICATION + program],
        "env": env,
        "envFrom": [{"configMapRef": {"name": "app-config"}}],
        "resources": {"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"cpu": "400m", "memory": "256Mi"}},
    }
    spec = {"enableServiceLinks": False, "containers": [container]}
    metadata = {"name": name, "namespace": place.namespace}
    return run_pod(place.api, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, timeout=180)


def test_rows_and_queued_tasks_outlive_every_pod(place: Place) -> None:
    where = {"namespace": place.namespace, "password_secret": {"name": "redis-auth", "key": "password"}}
    pointed = run_module("redis_master", {**where, "config_map": "app-config"})
    assert not pointed.get("failed"), pointed
    place.sql("CREATE TABLE ran (n int); CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n;")
    sent = run(place, "send", SEND)
    assert (sent.exit_code, sent.log.strip()) == (0, "sent")

    before = {pod["metadata"]["uid"] for pod in place.api.list("v1", "Pod", place.namespace)}
    for pod in place.api.list("v1", "Pod", place.namespace):
        place.api.delete(ObjectRef.of(pod))

    def replaced() -> bool:
        pods = place.api.list("v1", "Pod", place.namespace)
        ready = [
            any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or [])
            for pod in pods
        ]
        return len(pods) >= len(before) and all(ready) and before.isdisjoint(pod["metadata"]["uid"] for pod in pods)

    until(replaced, "other pods, all ready", 300)
    place.database.wait_for_leader(120)
    assert place.sql("SELECT count(*), sum(n) FROM kept;") == "1000|500500"
    assert place.sql("SELECT count(*) FROM ran;") == "0"
    worked = run(place, "work", WORK)
    assert worked.exit_code == 0, worked.log
    assert place.sql("SELECT count(*), count(DISTINCT n), sum(n) FROM ran;") == f"{TASKS}|{TASKS}|{sum(range(TASKS))}"
