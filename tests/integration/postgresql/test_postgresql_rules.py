# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that do not hold together are refused before anything is applied; no cluster is needed to see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.plays import play

# Variables, and what the refusal says: expected, found, what to do.
REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "too few connections": (
        {"postgresql_cluster_parameters": {"max_connections": 82}},
        ["max_connections of at least 83: 68 for the poolers", "found 82", "lower postgresql_pooler_pool_size"],
    ),
    "no replica to wait for": (
        {"postgresql_profile": "small", "postgresql_synchronous_mode": "on"},
        [
            "postgresql_instances above postgresql_synchronous_node_count (1)",
            "found 1 with postgresql_synchronous_mode",
        ],
    ),
    "strict about nothing": (
        {"postgresql_synchronous_mode": "off", "postgresql_synchronous_mode_strict": True},
        ["where postgresql_synchronous_mode_strict is true", "commits would not wait at all"],
    ),
    "two places for one setting": (
        {"postgresql_patroni": {"ttl": 20, "loop_wait": 5, "retry_timeout": 5, "synchronous_mode": True}},
        ["without synchronous_mode", "They are variables of their own"],
    ),
    "a pooler in front of nothing": (
        {"postgresql_instances": 1},
        ["of 0 where there is no replica", "found 2 with postgresql_instances 1"],
    ),
    "statements that the next connection does not know": (
        {"postgresql_pooler_max_prepared_statements": 0},
        ["above 0 in transaction mode", "postgresql_pooler_clients_prepare: false"],
    ),
    "more clients than sessions": (
        # 3 pods and one more in an update, each with 16 tasks at once, and beat.
        {"postgresql_pooler_mode": "session", "celery_worker_replicas": 3, "celery_worker_concurrency": 16},
        ["at least 65 connections of the poolers", "found 40: 2 x 20", "postgresql_pooler_mode to transaction"],
    ),
    "no image": ({"postgresql_image": ""}, ["postgresql_image and postgresql_pooler_image", "found pgbouncer:1"]),
    "nothing told of one's own": (
        {"postgresql_provider": "external", "postgresql_external": {"host": "db"}, "postgresql_external_image": ""},
        ["host, database and secret", "found host", "postgresql_external_image, an image with Python"],
    ),
    "no way round the pooler": (
        {"postgresql_provider": "external", "postgresql_external": {"pool_mode": "transaction"}},
        ["direct in postgresql_external where pool_mode is transaction"],
    ),
    "no authority to verify with": (
        {"postgresql_provider": "external", "postgresql_external": {"sslmode": "verify-full"}},
        ["sslrootcert in postgresql_external where sslmode is verify-full"],
    ),
}
ACCEPTED: dict[str, dict[str, Any]] = {
    "the standard profile": {},
    "the small profile": {"postgresql_profile": "small"},
    "a bare on in YAML": {"postgresql_synchronous_mode": True, "postgresql_synchronous_mode_strict": True},
    "quorum": {"postgresql_synchronous_mode": "quorum"},
    "clients that prepare nothing": {
        "postgresql_pooler_max_prepared_statements": 0,
        "postgresql_pooler_clients_prepare": False,
    },
    "one's own": {
        "postgresql_provider": "external",
        "postgresql_external": {"host": "db", "database": "shop", "secret": {"name": "mine"}},
    },
    "as many sessions as clients": {"postgresql_pooler_mode": "session", "celery_worker_profile": "small"},
}
IMAGES = {"artifacts_images": {"postgresql": "postgresql:1", "pgbouncer": "pgbouncer:1", "app": "app:1"}}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the role's validation said of each case, in one play."""
    cases = {**{name: case[0] for name, case in REFUSED.items()}, **ACCEPTED}
    tasks: list[dict[str, Any]] = []
    for number, variables in enumerate(cases.values()):
        role = {"name": "celeryops.platform.postgresql", "tasks_from": "validate"}
        told = {"ansible.builtin.set_fact": {f"case_{number}": "{{ ansible_failed_result.msg }}"}}
        tasks.append({"vars": variables, "block": [{"ansible.builtin.include_role": role}], "rescue": [told]})
    facts = {f"told_{number}": f"{{{{ case_{number} | default('') }}}}" for number in range(len(cases))}
    tasks.append({"ansible.builtin.set_fact": facts, "register": "told"})
    folder: Path = tmp_path_factory.mktemp("rules")
    with play(folder, tasks, vars=IMAGES) as run:
        run.end()
    told = run.results["told"]["ansible_facts"]
    return {name: " ".join(told[f"told_{number}"].split()) for number, name in enumerate(cases)}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_to_do(said: dict[str, str], name: str) -> None:
    for words in REFUSED[name][1]:
        assert words in said[name], said[name]


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(said: dict[str, str], name: str) -> None:
    assert said[name] == ""
