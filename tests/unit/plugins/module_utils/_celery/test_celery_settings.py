# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each contradiction between settings is told, and settings that agree are not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._celery import (
    capacity,
    contract,
    delivery,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.settings import (
    SettingsError,
    check,
    pool_of,
    refuse,
    unchecked,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.snapshot import (
    Limits,
    Pool,
    Snapshot,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

DATA = yaml.safe_load((Path(__file__).parent / "data/settings.yml").read_text(encoding="utf-8"))
AGREEING = DATA["agreeing"]


def merged(base: Any, changes: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}


def snapshot(case: dict[str, Any]) -> Snapshot:
    pool = merged(AGREEING["pool"], case.get("pool", {}))
    limits = merged(AGREEING["limits"], case.get("limits", {}))
    return Snapshot(
        survey=merged(AGREEING["survey"], case.get("survey", {})),
        pools=(Pool(**{**pool, "queues": tuple(pool["queues"])}),),
        limits=Limits(**{**limits, "limit_ranges": tuple(limits["limit_ranges"])}),
        waived=tuple(case.get("waived", ())),
    )


def test_settings_that_agree() -> None:
    assert check(snapshot({})) == []
    assert unchecked(snapshot({})) == []


@pytest.mark.parametrize("case", DATA["cases"], ids=[case["name"] for case in DATA["cases"]])
def test_contradictions(case: dict[str, Any]) -> None:
    findings = check(snapshot(case))
    assert [[one.rule, one.severity] for one in findings] == case["found"]
    told = " ".join(f"{one.what}: {one.why}. {one.change}" for one in findings)
    assert [words for words in case.get("says", []) if words not in told] == []


def test_every_rule_has_a_case() -> None:
    """A rule that no case sets off may be one that nothing does."""
    source = "".join(Path(str(module.__file__)).read_text() for module in (contract, delivery, capacity))
    rules = set(re.findall(r'Finding\(\s*"([^"]+)"', source))
    covered = {rule for case in DATA["cases"] for rule, _severity in case["found"]}
    assert rules == covered


def test_errors_are_raised_all_at_once() -> None:
    findings = check(snapshot({"pool": {"grace_period": 45, "min_available": 3, "kind": "threads"}}))
    with pytest.raises(SettingsError, match="2 contradictions") as caught:
        refuse(findings)
    assert "[soft-shutdown-grace] pool default" in str(caught.value)
    assert "[disruption-budget]" in str(caught.value)
    assert "not-enforced" not in str(caught.value)
    refuse([one for one in findings if one.severity == "warning"])


def test_what_could_not_be_looked_at_is_told() -> None:
    case = {
        "survey": {"redis": {"problem": "TimeoutError"}, "database": {"max_connections": None}},
        "limits": {"limit_ranges": []},
    }
    assert [line.partition(":")[0] for line in unchecked(snapshot(case))] == [
        "connections and eviction of Redis",
        "connections of PostgreSQL",
        "resources against a LimitRange",
    ]
    assert check(snapshot(case)) == []


GIVEN: dict[str, Any] = {
    "name": "reports",
    "kind": "prefork",
    "queues": ["reports"],
    "replicas": 3,
    "max_replicas": None,
    "max_surge": "25%",
    "concurrency": 2,
    "grace_period": 60,
    "min_available": 1,
    "task_limit": 500,
    "settings": {},
    "env": [{"name": "A", "value": "b"}, {"name": "C", "valueFrom": {}}],
    "resources": {"limits": {"memory": "1Gi"}},
    "init_containers": [{"name": "wait", "resources": {"limits": {"cpu": "1"}}}],
    "shm_size": "",
}


def test_a_pool_from_the_options() -> None:
    pool = pool_of(GIVEN)
    assert (pool.pods, pool.slots, dict(pool.environment)) == (4, 2, {"A": "b"})
    assert pool.containers == {"worker": {"limits": {"memory": "1Gi"}}, "wait": {"limits": {"cpu": "1"}}}
    assert pool_of({**GIVEN, "kind": "solo"}).slots == 1


def test_a_surge_that_is_none() -> None:
    with pytest.raises(CeleryOpsError, match="celery_worker_max_surge"):
        pool_of({**GIVEN, "max_surge": "a quarter"})
