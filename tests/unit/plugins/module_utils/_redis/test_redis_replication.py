# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading INFO: the files in data/ are what redis-server 7.0.15 said in the pods of the role."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.celeryops.platform.plugins.module_utils._redis.replication import (
    parse_info,
    replication,
    role_name,
)

DATA = Path(__file__).parent / "data"
MASTER = parse_info((DATA / "master.info").read_text(encoding="utf-8"))
REPLICA = parse_info((DATA / "replica.info").read_text(encoding="utf-8"))


def test_master() -> None:
    said = replication("master", MASTER)
    assert (said.role, said.connected_replicas, said.link, said.master_host) == ("master", 2, "", "")
    assert said.offset == int(MASTER["master_repl_offset"])
    assert said.run_id == MASTER["run_id"]
    assert not said.loading


def test_keys_of_all_databases_count() -> None:
    assert {key for key in MASTER if key.startswith("db")} == {"db0", "db2"}
    assert replication("master", MASTER).keys == 2


def test_replica() -> None:
    said = replication("slave", REPLICA)
    assert (said.role, said.link, said.master_port) == ("replica", "up", 6379)
    assert said.master_host == "redis-0.redis-headless.jewelry-shop.svc.cluster.local"
    assert said.offset == int(REPLICA["slave_repl_offset"])


def test_a_server_that_loads_its_data() -> None:
    assert replication("master", {**MASTER, "loading": "1"}).loading


def test_headings_and_carriage_returns_are_no_values() -> None:
    assert parse_info("# Server\r\nrun_id:abc\r\n\r\nurl:a:b\r\n") == {"run_id": "abc", "url": "a:b"}


def test_roles_are_named_as_in_this_collection() -> None:
    assert [role_name(word) for word in ("master", "slave", "sentinel")] == ["master", "replica", "sentinel"]
