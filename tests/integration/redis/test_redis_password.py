# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A changed password, brought to running servers, with real ones."""

from __future__ import annotations

import subprocess

import pytest
from redis_servers import HOSTS, PASSWORD, Group

from ansible_collections.celeryops.platform.plugins.module_utils._redis.password import script
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import RedisError, read_replication

NEW = "\\another 'one\" >$(x)"


def run(group: Group, password: str, *, add: bool, knows: str = PASSWORD) -> tuple[int, str]:
    # In a pod redis-cli finds its server at localhost; here each server has an address of its own.
    text = script(password, port=group.port, seconds=3, add=add).replace("redis-cli ", f"redis-cli -h {HOSTS[0]} ")
    environment = {**group.environment(0), "REDISCLI_AUTH": knows}
    done = subprocess.run(["/bin/sh", "-s"], input=text, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_the_servers_own_password_is_accepted(group: Group) -> None:
    assert run(group, PASSWORD, add=True) == (0, "accepted")


def test_check_changes_nothing(group: Group) -> None:
    assert run(group, NEW, add=False) == (0, "missing")
    with pytest.raises(RedisError, match="does not accept"):
        read_replication(HOSTS[0], group.port, NEW, timeout=3)


def test_both_passwords_hold_until_the_server_restarts(own_group: Group) -> None:
    assert run(own_group, NEW, add=True) == (0, "added")
    assert run(own_group, NEW, add=True) == (0, "accepted")
    for password in (PASSWORD, NEW):
        assert read_replication(HOSTS[0], own_group.port, password, timeout=3).role == "master"
    assert own_group.cli(0, "CONFIG", "GET", "masterauth").splitlines()[1] == NEW
    own_group.stop(0)
    own_group.start(0, "Ready to accept connections")
    with pytest.raises(RedisError, match="does not accept"):
        read_replication(HOSTS[0], own_group.port, NEW, timeout=3)


def test_a_server_whose_password_nobody_knows(group: Group) -> None:
    status, answer = run(group, NEW, add=True, knows="forgotten")
    assert status == 1
    assert "WRONGPASS" in answer or "NOAUTH" in answer
