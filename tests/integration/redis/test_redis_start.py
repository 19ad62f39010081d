# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that run in the Redis pods, with real servers."""

from __future__ import annotations

from redis_servers import HOSTS, Group


def test_first_pod_is_master_and_the_others_follow_by_name(group: Group) -> None:
    assert group.cli(0, "ROLE").splitlines()[0] == "master"
    assert group.cli(1, "ROLE").splitlines()[:4] == ["slave", HOSTS[0], str(group.port), "connected"]
    info = group.cli(0, "INFO", "replication")
    assert "connected_slaves:2" in info
    assert f"ip={HOSTS[1]}," in info
    assert f"ip={HOSTS[2]}," in info


def test_memory_bound_follows_from_the_limit(group: Group) -> None:
    bound = int(group.cli(0, "CONFIG", "GET", "maxmemory").splitlines()[1])
    assert bound == 256 * 1024 * 1024 // 100 * 50


def test_password_is_required_and_its_file_private(group: Group) -> None:
    environment = {"REDISCLI_AUTH": ""}
    assert group.run("alive.sh", 0, **environment).returncode == 0
    assert group.run("ready.sh", 0, **environment).returncode == 1
    configuration = group.folder / "0" / "run" / "redis.conf"
    assert configuration.stat().st_mode & 0o077 == 0
    assert "p\\x22" not in configuration.read_text(encoding="utf-8")


def test_probes_of_a_healthy_group(group: Group) -> None:
    for number in range(3):
        assert group.run("alive.sh", number).returncode == 0
        assert group.run("ready.sh", number).returncode == 0


def test_replica_without_master_is_alive_but_not_ready(own_group: Group) -> None:
    own_group.stop(0)
    own_group.read_log(1, "Connection with master lost|Error condition on socket for SYNC")
    assert own_group.run("alive.sh", 1).returncode == 0
    ready = own_group.run("ready.sh", 1)
    assert ready.returncode == 1
    assert "no link to its master" in ready.stdout


def test_a_server_without_room_for_one_more_client_is_alive_but_not_ready(own_group: Group) -> None:
    own_group.cli(0, "CONFIG", "SET", "maxclients", "1")
    assert own_group.run("alive.sh", 0).returncode == 0
    ready = own_group.run("ready.sh", 0)
    assert ready.returncode == 1
    assert "max number of clients" in ready.stdout


def test_stopped_server_is_neither(own_group: Group) -> None:
    own_group.stop(2)
    assert own_group.run("alive.sh", 2).returncode == 1
    assert own_group.run("ready.sh", 2).returncode == 1


def test_data_survives_a_restart_of_the_master(own_group: Group) -> None:
    own_group.cli(0, "SET", "order", "42")
    own_group.stop(0)
    own_group.start(0, "Ready to accept connections")
    assert own_group.cli(0, "GET", "order") == "42"


def test_empty_master_does_not_start_over_replicas_with_data(own_group: Group) -> None:
    own_group.cli(0, "SET", "order", "42")
    assert own_group.cli(0, "WAIT", "2", "5000") == "2"
    own_group.stop(0)
    own_group.lose_volume(0)
    refused = own_group.run("start.sh", 0)
    assert refused.returncode == 1
    assert "refusing to start as an empty master" in refused.stderr
    assert "scale the StatefulSet to 1" in refused.stderr
    assert own_group.cli(1, "GET", "order") == "42"


def test_empty_master_does_not_start_when_a_peer_cannot_be_asked(own_group: Group) -> None:
    own_group.stop(0)
    own_group.lose_volume(0)
    refused = own_group.run("start.sh", 0, REDISCLI_AUTH="another")
    assert refused.returncode == 1
    assert "did not say whether it holds data" in refused.stderr


def test_empty_master_starts_when_its_replicas_are_gone(own_group: Group) -> None:
    own_group.cli(0, "SET", "order", "42")
    for number in (2, 1, 0):
        own_group.stop(number)
    own_group.lose_volume(0)
    own_group.start(0, "Ready to accept connections")
    assert own_group.cli(0, "DBSIZE") == "0"
