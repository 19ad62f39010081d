# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what the script prints; the script itself runs against real servers in the integration tests."""

from __future__ import annotations

from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import (
    Answer,
    Target,
    parse,
    script,
    total_timeout,
)

MARK = "0123abcd"
REPLICA = f"""
{MARK} attempt 0 10.42.1.7
slave
10.42.0.5
6379
connected
512
{MARK} part
READONLY You can't write against a read only replica.

{MARK} part
# Server
redis_version:7.0.15
run_id:77a1

{MARK} status 0
"""


def test_a_replica_refuses() -> None:
    ((answer,),) = parse(REPLICA, 1, MARK)
    refusal = "READONLY You can't write against a read only replica."
    assert answer == Answer("10.42.1.7", "replica", "77a1", False, refusal)


def test_a_read_back_of_another_value_is_no_proof() -> None:
    text = REPLICA.replace("slave", "master")
    lost = text.replace("READONLY You can't write against a read only replica.", "OK\n(nil)\n0")
    ((answer,),) = parse(lost, 1, MARK)
    assert (answer.role, answer.writable) == ("master", False)


def test_output_that_breaks_off_counts_for_what_is_complete() -> None:
    first, second = parse(REPLICA + f"{MARK} attempt 1 10.42.1.8\nmaster\n", 2, MARK)
    assert len(first) == 1
    assert second == ()


def test_the_password_is_quoted() -> None:
    text = script([Target("redis", 6379)], "it's $HOME", mark=MARK, seconds=3)
    assert """export REDISCLI_AUTH='it'"'"'s $HOME'\n""" in text


def test_without_a_password_none_is_sent() -> None:
    assert "REDISCLI_AUTH" not in script([Target("redis", 6379)], "", mark=MARK, seconds=3)


def test_a_look_holds_no_write() -> None:
    look, write = (script([Target("redis", 6379)], "", mark=MARK, seconds=3, write=mode) for mode in (False, True))
    assert "SET " not in look
    assert "SET " in write


def test_the_bound_grows_with_the_work() -> None:
    one, twelve = Target("redis", 6379), Target("redis", 6379, connections=12)
    assert total_timeout([one], 3) < total_timeout([one, twelve], 3)
