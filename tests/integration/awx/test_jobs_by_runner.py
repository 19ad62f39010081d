# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job templates by ansible-runner against an API server on loopback: what needs no workload, and what is refused.

What needs the platform is in test_jobs_on_platform.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from awx_jobs import TEMPLATES, Launcher, inventory_variables
from conftest import IMAGES
from helpers.apiserver import ApiServer
from helpers.modules import ROOT
from standins.awx.surveys import faults_of_answers

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

Json = dict[str, Any]
# No task has it: what remains are the plays that run always, which look and judge.
LOOK_ONLY = "nothing-has-this-tag"
# This machine as a server that was not set up yet; nothing is done to it where the answers are refused.
# With an interpreter: the first that is found on PATH may be none that runs.
_HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
K3S_HOSTS = {"k3s_server": {"hosts": {"server-1": _HERE}}}


@pytest.fixture(scope="module")
def storage(api: Api) -> Iterator[str]:
    """A class for volumes, which preflight wants to see."""
    name = "runner-default"
    api.create(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "example.com/none",
        }
    )
    yield name
    api.delete(ObjectRef("storage.k8s.io/v1", "StorageClass", name))


@pytest.fixture
def launch(project: Path, api_server: ApiServer, storage: str, namespace: str, tmp_path: Path) -> Launcher:
    assert storage
    return Launcher(project, tmp_path, api_server.kubeconfig, inventory_variables(namespace, IMAGES))


# An answer to every question, and all of them as AWX takes them.
TAKEN: dict[str, list[Json]] = {
    "Platform site": [
        {},
        {
            "celery_worker_profile": "medium",
            "celery_worker_log_level": "debug",
            "celery_app_image": "registry.example.com/shop/app:2",
        },
    ],
    "Platform validate": [{}, {"validate_drill": "true", "verify_task_timeout": 60}],
    "Platform doctor": [{}],
    "Platform drill": [{}, {"drill_tasks": 12, "drill_longest": 10.5}],
    "Platform scale": [
        {"celery_worker_profile": "small"},
        {"celery_worker_profile": "small", "celery_worker_replicas": 4, "celery_worker_concurrency": 1},
    ],
    "Platform upgrade": [{"k3s_version": "v1.34.1+k3s1", "k3s_timeout": 600}],
    "Platform notify": [{}],
    "Platform teardown": [{"namespace_removed": "jewelry-shop"}],
}
# Answers that are not taken, and what the playbook says of those that come past AWX, as from a schedule of long ago.
REFUSED = [
    ("Platform site", {"celery_worker_profile": "huge"}, "celery_worker_profile"),
    ("Platform site", {"celery_worker_log_level": "loud"}, "celery_worker_log_level"),
    ("Platform scale", {"celery_worker_profile": "small", "celery_worker_replicas": "many"}, "celery_worker_replicas"),
    (
        "Platform scale",
        {"celery_worker_profile": "small", "celery_worker_concurrency": "2.5"},
        "celery_worker_concurrency",
    ),
    ("Platform validate", {"verify_task_timeout": "soon"}, "'verify_task_timeout' is of type str"),
    ("Platform drill", {"drill_tasks": "many"}, "'drill_tasks' is of type str"),
    ("Platform drill", {"drill_longest": "long"}, "'drill_longest' is of type str"),
    ("Platform upgrade", {"k3s_version": "v1.34.1+k3s1", "k3s_timeout": "soon"}, "'k3s_timeout' is of type str"),
]
JUDGED_FIRST = ("Platform site", "Platform scale")


def by_name(one: Any) -> str:
    return json.dumps(one) if isinstance(one, dict) else str(one)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "answers"),
    [(name, answers) for name in JUDGED_FIRST for answers in TAKEN[name]],
    ids=by_name,
)
def test_answers_are_taken(launch: Launcher, template: str, answers: Json) -> None:
    job = launch(template, answers, "--limit", "localhost", "--forks", "1", tags=LOOK_ONLY)
    assert job.rc == 0, job.output
    assert "existing, because" in job.output
    assert job.touched == []


@pytest.mark.parametrize(("template", "answers", "said"), REFUSED, ids=by_name)
def test_answers_are_refused_before_anything_is_done(launch: Launcher, template: str, answers: Json, said: str) -> None:
    assert faults_of_answers({"spec": TEMPLATES[template]["survey"]}, answers)
    # Roles say it as soon as they begin; site.yml looks at all of them first.
    first = template in JUDGED_FIRST
    hosts = K3S_HOSTS if template == "Platform upgrade" else None
    job = launch(template, answers, groups=hosts, tags=LOOK_ONLY if first else None)
    assert job.rc != 0, job.output
    assert said in job.told
    assert not first or "nothing was changed" in job.told
    assert (job.changed, job.touched) == (0, [])


def test_a_variable_that_nobody_takes_is_named(launch: Launcher) -> None:
    job = launch("Platform site", {"celery_worker_profiles": "small"}, tags=LOOK_ONLY)
    assert job.rc != 0, job.output
    assert "Did you mean celery_worker_profile" in job.told


def test_a_release_that_is_none_is_refused(launch: Launcher) -> None:
    """Any text may be an answer for AWX; the plan of the hosts knows better."""
    job = launch("Platform upgrade", {"k3s_version": "newest"}, groups=K3S_HOSTS)
    assert job.rc != 0, job.output
    assert "newest" in job.told.partition("See that nothing speaks against it")[2]
    assert (job.changed, job.touched) == (0, [])


def test_an_upgrade_wants_hosts_of_k3s(launch: Launcher) -> None:
    job = launch("Platform upgrade", TAKEN["Platform upgrade"][0])
    assert job.rc != 0, job.output
    assert "Expected a cluster of k3s whose hosts are in this inventory, found the provider existing" in job.told


def test_every_question_has_answers_here_that_are_taken_and_refused() -> None:
    asked = {(name, one["variable"]) for name, template in TEMPLATES.items() for one in template.get("survey", [])}
    assert set(TAKEN) == set(TEMPLATES)
    assert {(name, variable) for name, all_of_it in TAKEN.items() for one in all_of_it for variable in one} == asked
    refused = {(name, variable) for name, answers, _said in REFUSED for variable in answers}
    # Any text may name something: only a run tells. What is neither true nor false never comes past AWX.
    elsewhere = {
        ("Platform site", "celery_app_image"),
        ("Platform teardown", "namespace_removed"),
        ("Platform validate", "validate_drill"),
    }
    assert refused == asked - elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_every_playbook_is_read_with_its_answers(launch: Launcher, template: str) -> None:
    for answers in TAKEN[template]:
        assert faults_of_answers({"spec": TEMPLATES[template].get("survey", [])}, answers) == []
        job = launch(template, answers, "--syntax-check")
        assert job.rc == 0, job.output
        assert job.touched == []


def test_a_teardown_wants_the_name_as_it_is(launch: Launcher, namespace: str) -> None:
    job = launch("Platform teardown", {"namespace_removed": "jewelry-shop"})
    assert job.rc != 0
    assert "To confirm, type the name as it is" in job.output
    assert namespace in job.output


def test_a_teardown_removes_the_namespace_it_was_told(launch: Launcher, namespace: str, api: Api) -> None:
    job = launch("Platform teardown", {"namespace_removed": namespace}, "--check")
    assert job.rc == 0, job.output
    assert "changed=1" in job.output
    found = api.get(ObjectRef("v1", "Namespace", namespace))
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Json]]]:
    """A webhook: its address, and what was posted there."""
    posted: list[Json] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: what was posted is kept."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret-path", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_report_is_posted_and_its_address_kept(launch: Launcher, receiver: tuple[str, list[Json]]) -> None:
    address, posted = receiver
    report = {"title": "shop", "proved": True, "passed": 12, "failed": {}}
    job = launch("Platform notify", {"platform_report": report}, env={"CELERYOPS_NOTIFY_URL": address})
    assert job.rc == 0, job.output
    assert posted == [report]
    assert "secret-path" not in job.output


def test_without_a_report_or_an_address_it_says_so(launch: Launcher, namespace: str) -> None:
    job = launch("Platform notify", {})
    assert job.rc == 0, job.output
    assert "no report" in job.output
    assert namespace in job.output


def test_no_playbook_or_role_asks_at_the_terminal() -> None:
    files = [path for folder in ("playbooks", "roles") for path in (ROOT / folder).rglob("*.yml")]
    asking = [
        path for path in files if any(word in path.read_text() for word in ("vars_prompt", "ansible.builtin.pause"))
    ]
    assert asking == []
