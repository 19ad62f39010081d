# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that no role takes, and what was meant."""

from __future__ import annotations

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._preflight.variables import unknown

ROLES = {
    "redis": ["redis_replicas", "redis_storage_size", "platform_name"],
    "celery_worker": ["celery_worker_replicas", "celery_worker_resources"],
    "celery_beat": ["celery_beat_resources"],
    "postgresql": ["postgresql_instances"],
}


def remedies(*names: str) -> list[str]:
    return [finding.remedy.split("?")[0] for finding in unknown(dict.fromkeys(names, ("localhost",)), ROLES)]


def test_options_and_variables_of_ones_own() -> None:
    assert remedies("redis_replicas", "platform_name", "my_redis", "site", "celery_tuning") == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("redis_replica", "redis_replicas"),
        ("postgres_instances", "postgresql_instances"),
        ("celery_workers_replicas", "celery_worker_replicas"),
        ("celery_worker_replica", "celery_worker_replicas"),
        ("platform_nmae", "platform_name"),
    ],
)
def test_what_was_meant(name: str, meant: str) -> None:
    assert remedies(name) == [f"Did you mean {meant}"]


def test_a_roles_prefix_with_something_else_behind_it() -> None:
    (finding,) = unknown({"redis_xyz": ("a",)}, ROLES)
    assert finding.expected == "an option of role redis"
    assert finding.remedy.startswith("No role takes such an option.")


def test_hosts_are_named_but_not_all_of_them() -> None:
    (finding,) = unknown({"redis_replica": ("c", "a", "d", "b", "e")}, ROLES)
    assert finding.found == "redis_replica (for a, b, c and 2 more)"
