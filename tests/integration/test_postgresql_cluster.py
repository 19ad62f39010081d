# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL, Patroni and PgBouncer of the platform itself: modules, pooler, and data that outlives its pod."""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.modules import run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.patroni import Member

pytestmark = [pytest.mark.cluster, pytest.mark.platform]

NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
NAME = "jewelry-shop-db"
PLACE = {"namespace": NAMESPACE, "name": NAME}
OWNER = {
    "user": "jewelry_app",
    "database": "jewelry_shop",
    "secret": f"jewelry-app.{NAME}.credentials.postgresql.acid.zalan.do",
}

# 30 clients on 20 server connections, 16 queries each: every client meets other clients' server connections.
QUERIES = """
import json, sys, threading
import psycopg
password, cases = sys.stdin.read().split("\\n", 1)
def run(cursor, threshold):
    done, errors, start = [], set(), threading.Barrier(30)
    def client(number):
        with psycopg.connect(host=HOST, dbname="jewelry_shop", user="jewelry_app", password=password, autocommit=True,
                             cursor_factory=getattr(psycopg, cursor), prepare_threshold=threshold) as connection:
            start.wait()
            for query in range(16):
                try:
                    row = connection.execute("SELECT %s::int + %s::int", (number, query)).fetchone()
                    done.append(row == (number + query,))
                except psycopg.Error as error:
                    errors.add(str(error))
    threads = [threading.Thread(target=client, args=(number,)) for number in range(30)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return [sum(done), sorted(errors)]
print(json.dumps([run(*case) for case in json.loads(cases)]))
"""


@pytest.fixture
def database(cluster: Api) -> PatroniCluster:
    return PatroniCluster(cluster, NAMESPACE, NAME)


def uid_of(cluster: Api, ref: ObjectRef) -> str:
    found = cluster.get(ref)
    return str(found["metadata"]["uid"]) if found else ""


def is_whole(members: tuple[Member, ...]) -> bool:
    return len(members) == 3 and all(one.ready for one in members) and len({one.timeline for one in members}) == 1


def sql(database: PatroniCluster, statements: str, host: str = f"{NAME}-pooler") -> str:
    """As the shop does: with its own password, through a Service."""
    pod = database.wait_for_leader(120)
    password = database.password(OWNER["secret"], OWNER["user"])
    assert password is not None
    return database.sql_as(
        pod, statements, host=host, database=OWNER["database"], user=OWNER["user"], password=password
    )


def test_info_shows_one_leader_and_a_write_through_every_service() -> None:
    endpoints = [{"host": host, **OWNER} for host in (NAME, f"{NAME}-pooler")]
    for check in (False, True):
        found = run_module("postgresql_cluster_info", {**PLACE, "endpoints": endpoints}, check=check)
        assert found["changed"] is False
        primaries = [member["pod"] for member in found["members"] if member["role"] == "primary"]
        assert primaries == [found["leader"]]
        assert [(e["host"], e["writable"], e["error"]) for e in found["endpoints"]] == [
            (NAME, True, None),
            (f"{NAME}-pooler", True, None),
        ]


def test_info_of_a_cluster_that_is_not_there() -> None:
    found = run_module("postgresql_cluster_info", {"namespace": NAMESPACE, "name": "nobody"})
    assert (found["exists"], found["leader"], found["members"]) == (False, None, [])


@pytest.mark.parametrize(
    ("endpoint", "error"),
    [
        ({**OWNER, "secret": "no-such-secret"}, "there is no Secret no-such-secret"),
        ({**OWNER, "database": "nothing_there"}, 'database "nothing_there" does not exist'),
        ({**OWNER, "secret": f"pooler.{NAME}.credentials.postgresql.acid.zalan.do"}, "username 'pooler'"),
    ],
)
def test_info_says_why_an_endpoint_takes_no_write(endpoint: dict[str, str], error: str) -> None:
    found = run_module("postgresql_cluster_info", {**PLACE, "endpoints": [{"host": NAME, **endpoint}]})
    (answer,) = found["endpoints"]
    assert answer["writable"] is False
    assert error in answer["error"]


@pytest.fixture
def scratch(cluster: Api, database: PatroniCluster) -> Iterator[str]:
    """A name for a role, its Secret and its database; all of them are removed afterwards."""
    name = f"scratch_{uuid.uuid4().hex[:8]}"
    secret = secret_of(name)
    data = {"username": name, "password": "sp€cial \"\\' pass"}
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": NAMESPACE},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
    )
    yield name
    cluster.delete(ObjectRef("v1", "Secret", secret, NAMESPACE))
    drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE);\nDROP ROLE IF EXISTS {name};"
    database.sql(database.wait_for_leader(60), drop)


def secret_of(role: str) -> str:
    return f"{role.replace('_', '-')}.{NAME}.credentials.postgresql.acid.zalan.do"


def wanted(name: str) -> dict[str, Any]:
    return {
        **PLACE,
        "roles": [{"name": name, "secret": secret_of(name)}],
        "databases": [{"name": name, "owner": name}],
    }


def test_check_apply_check_apply(cluster: Api, scratch: str) -> None:
    runs = [run_module("postgresql_cluster", wanted(scratch), check=check) for check in (True, False, True, False)]
    assert [run["changed"] for run in runs] == [True, True, False, False]
    planned = [(change["kind"], change["name"], change["action"]) for change in runs[0]["changes"]]
    assert planned == [("role", scratch, "created"), ("database", scratch, "created")]
    assert runs[1]["changes"] == runs[0]["changes"]

    # It can be used through the pooler at once, which was told nothing of it.
    endpoint = {"host": f"{NAME}-pooler", "database": scratch, "user": scratch, "secret": secret_of(scratch)}
    asking = {**PLACE, "endpoints": [endpoint], "wait": 10}
    assert run_module("postgresql_cluster_info", asking)["endpoints"][0]["error"] is None

    # A new password in the Secret is one in the database after the next run.
    new = base64.b64encode(b"another one").decode()
    cluster.patch(ObjectRef("v1", "Secret", secret_of(scratch), NAMESPACE), {"data": {"password": new}})
    changed = run_module("postgresql_cluster", wanted(scratch), diff=True)
    assert [(change["kind"], change["action"]) for change in changed["changes"]] == [("role", "password")]
    assert "another one" not in json.dumps(changed)
    assert "SCRAM" not in json.dumps(changed)
    assert run_module("postgresql_cluster_info", asking)["endpoints"][0]["error"] is None


def test_settings_of_the_whole_cluster(cluster: Api) -> None:
    def asked(value: int | None) -> dict[str, Any]:
        return {**PLACE, "configuration": {"primary_stop_timeout": value}}

    runs = [run_module("postgresql_cluster", asked(30), check=check) for check in (True, False, True, False)]
    assert [run["changed"] for run in runs] == [True, True, False, False]
    assert runs[0]["changes"][0]["detail"] == ["primary_stop_timeout"]
    assert run_module("postgresql_cluster", asked(None))["changed"] is True
    assert run_module("postgresql_cluster", asked(None))["changed"] is False


@pytest.mark.slow
def test_a_shared_parameter_restarts_postgresql_but_not_its_pod(cluster: Api, database: PatroniCluster) -> None:
    before = database.configuration()["postgresql"]["parameters"]["max_connections"]
    pod = ObjectRef("v1", "Pod", database.wait_for_leader(60), NAMESPACE)
    found = cluster.get(pod)
    for value in (before + 1, before):
        asked = {**PLACE, "configuration": {"postgresql": {"parameters": {"max_connections": value}}}}
        changed = run_module("postgresql_cluster", asked)
        assert [change["action"] for change in changed["changes"]] == ["written", "restarted"]
        assert database.sql(pod.name, "SHOW max_connections;") == str(value)
        assert run_module("postgresql_cluster", asked)["changed"] is False
    after = cluster.get(pod)
    assert found is not None
    assert after is not None
    assert after["metadata"]["uid"] == found["metadata"]["uid"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "nobody"}, "There is no PostgreSQL cluster 'nobody'"),
        ({"roles": [{"name": "Bad-Name", "secret": "x"}]}, "The password of role 'Bad-Name' is not to be found"),
        ({"databases": [{"name": "a", "owner": "b"}]}, "The role 'b' is needed but not described"),
        ({"roles": [{"name": "jewelry_app", "secret": "app-secrets"}]}, "jewelry_app"),
        ({"databases": [{"name": "a"}]}, "missing required arguments: owner"),
    ],
)
def test_bad_input_changes_nothing_and_says_what_to_do(arguments: dict[str, Any], message: str) -> None:
    failed = run_module("postgresql_cluster", {**PLACE, "wait_timeout": 5, **arguments})
    assert failed["failed"]
    assert message in failed["msg"]
    assert failed.get("changes", []) == []


def test_the_pooler_takes_prepared_statements_in_transaction_mode(cluster: Api, database: PatroniCluster) -> None:
    # What the shop's settings come to, psycopg's own default, and every single query prepared on the server.
    cases = [("ClientCursor", None), ("Cursor", 5), ("Cursor", 0)]
    program = QUERIES.replace("HOST", f'"{NAME}-pooler"')
    ran = exec_in_pod(
        cluster,
        NAMESPACE,
        database.wait_for_leader(60),
        ["python", "-c", program],
        container="postgresql",
        stdin=f"{database.password(OWNER['secret'], OWNER['user'])}\n{json.dumps(cases)}",
        timeout=120,
    )
    assert ran.rc == 0, ran.stderr
    assert json.loads(ran.stdout) == [[480, []]] * 3


def test_superusers_do_not_come_through_the_pooler(database: PatroniCluster) -> None:
    secret = f"postgres.{NAME}.credentials.postgresql.acid.zalan.do"
    endpoint = {"host": f"{NAME}-pooler", "database": "postgres", "user": "postgres", "secret": secret}
    found = run_module("postgresql_cluster_info", {**PLACE, "endpoints": [endpoint]})
    assert "no such user" in found["endpoints"][0]["error"] or "authentication failed" in found["endpoints"][0]["error"]


def test_rows_survive_their_pod(cluster: Api, database: PatroniCluster) -> None:
    table = f"kept_{uuid.uuid4().hex[:8]}"
    sql(database, f"CREATE TABLE {table} AS SELECT generate_series(1, 1000) AS n;")
    try:
        pod = ObjectRef("v1", "Pod", database.wait_for_leader(60), NAMESPACE)
        before = cluster.get(pod)
        assert before is not None
        cluster.delete(pod)
        deadline = time.monotonic() + 180
        while (cluster.get(pod) or before)["metadata"]["uid"] == before["metadata"]["uid"]:
            assert time.monotonic() < deadline, "the pod was not replaced"
            time.sleep(0.5)
        database.wait_for_leader(180)
        endpoint = {"host": f"{NAME}-pooler", **OWNER}
        asking = {**PLACE, "endpoints": [endpoint], "wait": 60}
        assert run_module("postgresql_cluster_info", asking)["endpoints"][0]["error"] is None
        total = f"SELECT count(*), sum(n) FROM {table};"
        assert sql(database, total) == "1000|500500"
    finally:
        sql(database, f"DROP TABLE {table};")


@pytest.mark.slow
def test_rows_survive_all_pods_while_one_of_them_starts(cluster: Api, database: PatroniCluster) -> None:
    """The former leader knows nothing of the last failover, and is told to end before it can hear that."""
    table = f"kept_{uuid.uuid4().hex[:8]}"
    sql(database, f"CREATE TABLE {table} (n int);")
    asking = {**PLACE, "endpoints": [{"host": f"{NAME}-pooler", **OWNER}], "wait": 60}
    try:
        former = database.wait_for_leader(60)
        cluster.delete(ObjectRef("v1", "Pod", former, NAMESPACE))
        deadline = time.monotonic() + 300
        while database.wait_for_leader(120) == former:
            assert time.monotonic() < deadline, "nobody took over"
            time.sleep(0.2)
        assert run_module("postgresql_cluster_info", asking)["endpoints"][0]["error"] is None
        sql(database, f"INSERT INTO {table} SELECT generate_series(1, 1000);")
        pods = [ObjectRef("v1", "Pod", f"{NAME}-{number}", NAMESPACE) for number in range(3)]
        old = {pod: uid_of(cluster, pod) for pod in pods}
        for pod in pods:
            cluster.delete(pod)
        while any(uid_of(cluster, pod) in ("", old[pod]) for pod in pods):
            assert time.monotonic() < deadline, "the pods were not replaced"
            time.sleep(0.5)
        while not is_whole(members := database.members()):
            assert time.monotonic() < deadline, members
            time.sleep(1)
        assert run_module("postgresql_cluster_info", asking)["endpoints"][0]["error"] is None
        assert sql(database, f"SELECT count(*) FROM {table};") == "1000"
    finally:
        sql(database, f"DROP TABLE {table};")
