# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every job template by ansible-runner on the full cluster, which is there already as AWX sees it.

The platform is afterwards as it was before. Of `Platform upgrade` there is its refusal: no k3s hosts are there. The
Molecule scenarios k3s and k3s_ha run its playbook.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awx_jobs import Job, Launcher, inventory_variables
from conftest import IMAGES
from platform_place import NAMESPACE, OWN, described, state

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

Json = dict[str, Any]
WORKER = ObjectRef("apps/v1", "Deployment", "celery-worker", NAMESPACE)
# In place of the whole program, which takes a quarter of an hour
DRILL = {"drill_program": [{"drill": "eviction", "repetitions": 1}]}


@pytest.fixture(scope="module")
def launch(cluster: Api, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    before = state(cluster)
    kubeconfig = Path(os.environ["KUBECONFIG"])
    yield Launcher(project, tmp_path_factory.mktemp("runner"), kubeconfig, described(cluster))
    assert state(cluster) == before


def succeeded(job: Job) -> Json:
    """The statistics of a job that ended well and wrote nothing beside its playbooks."""
    assert job.rc == 0, job.output[-6000:]
    assert job.touched == []
    return job.artifacts


def refused(job: Job, said: str) -> None:
    assert job.rc != 0, job.output[-6000:]
    assert said in job.told
    assert (job.changed, job.touched) == (0, [])


def test_site_finds_the_platform_as_it_is_declared(launch: Launcher) -> None:
    job = launch("Platform site", {})
    report = succeeded(job)["platform_report"]
    assert (report["proved"], report["failed"]) == (True, {})
    assert job.changed == 0


def test_site_in_check_mode_tells_what_another_answer_would_change(launch: Launcher, cluster: Api) -> None:
    before = state(cluster)
    job = launch("Platform site", {"celery_worker_log_level": "debug"}, "--check", "--diff")
    succeeded(job)
    assert job.changed == 1
    assert "--loglevel=debug" in job.output
    assert state(cluster) == before


def test_site_refuses_an_answer_and_leaves_the_platform_alone(launch: Launcher, cluster: Api) -> None:
    before = state(cluster)
    refused(launch("Platform site", {"celery_worker_profile": "huge"}), "nothing was changed")
    assert state(cluster) == before


@pytest.mark.parametrize("answers", [{}, {"validate_drill": "true", "verify_task_timeout": 60}], ids=str)
def test_validate_proves_the_platform_and_notify_reports_it(launch: Launcher, answers: Json) -> None:
    left = succeeded(launch("Platform validate", answers))
    assert left["validate_passed"] is True
    checks = {one["name"]: one["passed"] for one in left["validate_checks"]}
    assert checks["broker is the master"] is True
    assert checks["a task through each queue"] is (True if answers else None)
    # A workflow hands what a job has left to the next one as answers.
    told = launch("Platform notify", left)
    succeeded(told)
    assert "proved: true" in told.told
    assert f"passed: {len(checks) if answers else len(checks) - 1}" in told.told


def test_validate_refuses_an_answer(launch: Launcher) -> None:
    refused(launch("Platform validate", {"verify_task_timeout": "soon"}), "'verify_task_timeout' is of type str")


def test_doctor_finds_nothing(launch: Launcher) -> None:
    left = succeeded(launch("Platform doctor", {}))
    assert (left["doctor_healthy"], left["doctor_findings"], left["doctor_could_not_look"]) == (True, [], [])


def test_drill_accounts_for_every_task(launch: Launcher) -> None:
    left = succeeded(launch("Platform drill", {"drill_tasks": 12, "drill_longest": 5.5}, variables=DRILL))
    (result,) = left["drill_results"]
    assert (result["passed"], result["lost"], result["run_twice"]) == (True, 0, 0)
    assert result["sent"] == result["run"] >= 12


def test_drill_refuses_answers_that_make_no_drill(launch: Launcher) -> None:
    """AWX takes any number."""
    said = "the tasks are over before anything can be disturbed"
    refused(launch("Platform drill", {"drill_tasks": 0}, variables=DRILL), said)
    refused(launch("Platform drill", {"drill_tasks": "many"}, variables=DRILL), "'drill_tasks' is of type str")


def workers(cluster: Api) -> tuple[int, int]:
    """Wanted and ready."""
    found = cluster.get(WORKER)
    assert found is not None
    return found["spec"]["replicas"], found["status"].get("readyReplicas", 0)


def test_scale_gives_the_workers_another_size_and_the_old_one_back(launch: Launcher, cluster: Api) -> None:
    assert workers(cluster) == (3, 3)
    try:
        report = succeeded(launch("Platform scale", {**OWN, "celery_worker_replicas": 4}))["platform_report"]
        assert report["proved"] is True
        assert workers(cluster) == (4, 4)
    finally:
        report = succeeded(launch("Platform scale", OWN))["platform_report"]
    assert report["proved"] is True
    assert workers(cluster) == (3, 3)


def test_scale_refuses_a_size_that_there_is_no_room_for(launch: Launcher, cluster: Api) -> None:
    """A number of pods for AWX; it is the nodes that have no room, and preflight that knows."""
    refused(launch("Platform scale", {**OWN, "celery_worker_replicas": 400}), "nothing was changed")
    assert workers(cluster) == (3, 3)


def test_upgrade_wants_hosts_of_k3s(launch: Launcher) -> None:
    said = "Expected a cluster of k3s whose hosts are in this inventory, found the provider existing"
    refused(launch("Platform upgrade", {"k3s_version": "v1.34.1+k3s1"}), said)


@pytest.fixture
def space(cluster: Api) -> Iterator[str]:
    """A namespace of its own, in place of the platform's, with something in it."""
    name = f"teardown-{uuid.uuid4().hex[:6]}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "namespace": name}}
    cluster.create({**held, "data": {"word": "kept"}})
    yield name
    cluster.delete(ObjectRef("v1", "Namespace", name))


def test_teardown_removes_the_namespace_that_was_typed_and_no_other(launch: Launcher, cluster: Api, space: str) -> None:
    here = inventory_variables(space, IMAGES)
    refused(launch("Platform teardown", {"namespace_removed": NAMESPACE}, variables=here), "Nothing was removed")
    assert cluster.get(ObjectRef("v1", "ConfigMap", "held", space)) is not None
    job = launch("Platform teardown", {"namespace_removed": space}, variables=here)
    succeeded(job)
    assert job.changed == 1
    assert cluster.get(ObjectRef("v1", "Namespace", space)) is None
    assert cluster.get(WORKER) is not None
