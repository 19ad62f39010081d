# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the adapters read from real servers: redis-py directly, and the script that runs inside the cluster."""

from __future__ import annotations

import socket
import subprocess

import pytest
from redis_servers import HOSTS, PASSWORD, Group, free_port

from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Answer, Target, parse, script
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import RedisError, read_replication

MARK = "mark-of-a-test"


def ask(*targets: Target, password: str = PASSWORD, write: bool = False) -> tuple[tuple[Answer, ...], ...]:
    text = script(targets, password, mark=MARK, seconds=1, write=write)
    done = subprocess.run(["/bin/sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout, len(targets), MARK)


def test_a_server_is_read_directly(group: Group) -> None:
    master = read_replication(HOSTS[0], group.port, PASSWORD, timeout=3)
    assert (master.role, master.connected_replicas, master.link, master.loading) == ("master", 2, "", False)
    replica = read_replication(HOSTS[1], group.port, PASSWORD, timeout=3)
    assert (replica.role, replica.master_host, replica.link) == ("replica", HOSTS[0], "up")
    assert replica.run_id != master.run_id


def test_a_wrong_password_is_named_and_not_printed(group: Group) -> None:
    with pytest.raises(RedisError, match="does not accept the password") as caught:
        read_replication(HOSTS[0], group.port, "wrong-secret", timeout=3)
    assert "wrong-secret" not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(RedisError, match="did not answer"):
        read_replication(HOSTS[0], free_port(), "", timeout=1)


def test_a_look_changes_nothing_and_tells_who_may_write(group: Group) -> None:
    before = group.cli(0, "DBSIZE")
    targets = [Target(host, group.port, connections=2) for host in HOSTS]
    master, first, second = ask(*targets)
    assert [(answer.role, answer.writable, answer.error) for answer in master] == [("master", True, "")] * 2
    for replica in (*first, *second):
        assert (replica.role, replica.writable) == ("replica", False)
        assert replica.error.startswith("READONLY")
    assert master[0].run_id == read_replication(HOSTS[0], group.port, PASSWORD, timeout=3).run_id
    assert group.cli(0, "DBSIZE") == before


def test_a_write_is_read_back_and_leaves_nothing(group: Group) -> None:
    master, replica = ask(Target(HOSTS[0], group.port, 3), Target(HOSTS[1], group.port), write=True)
    assert master == (Answer(HOSTS[0], "master", master[0].run_id, writable=True),)
    assert not replica[0].writable
    assert group.cli(0, "-n", "3", "DBSIZE") == "0"


def test_a_write_that_the_master_refuses(own_group: Group) -> None:
    own_group.cli(0, "CONFIG", "SET", "min-replicas-to-write", "3")
    ((answer,),) = ask(Target(HOSTS[0], own_group.port))
    assert (answer.role, answer.writable) == ("master", False)
    assert answer.error.startswith("NOREPLICAS")


def test_a_full_master_refuses_the_write_though_it_allows_the_look(own_group: Group) -> None:
    own_group.cli(0, "CONFIG", "SET", "maxmemory", "1")
    ((look,),) = ask(Target(HOSTS[0], own_group.port))
    ((write,),) = ask(Target(HOSTS[0], own_group.port), write=True)
    assert look.writable
    assert not write.writable
    assert write.error.startswith("OOM")


def test_no_server_no_name_no_database_wrong_password(group: Group) -> None:
    refused, unresolved, database = ask(
        Target(HOSTS[0], free_port()), Target("absent.invalid", group.port), Target(HOSTS[0], group.port, 99)
    )
    assert "Connection refused" in refused[0].error
    assert unresolved[0].error == "the name does not resolve"
    assert "out of range" in database[0].error
    ((wrong,),) = ask(Target(HOSTS[0], group.port), password=PASSWORD[1:])
    assert "WRONGPASS" in wrong.error
    assert not any(answer.role for answer in (refused[0], unresolved[0], database[0], wrong))


def test_a_black_hole_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind((HOSTS[0], 0))
        silent.listen(16)
        (answers,) = ask(Target(HOSTS[0], silent.getsockname()[1], connections=12))
    assert [answer.error for answer in answers] == ["no answer within the time limit"] * 2
