# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job templates as AWX runs them: by ansible-runner, in a copy of the project, with the survey's answers as variables.

What needs no workload runs for real, against an API server on loopback; of the rest, what preflight makes of the
answers.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
from conftest import IMAGES
from helpers.apiserver import ApiServer
from helpers.awx import DATA
from helpers.modules import ROOT
from helpers.published import BIN, tracked

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

Json = dict[str, Any]
TEMPLATES = {one["name"]: one for one in DATA["job_templates"]}
# No task has it: what remains are the plays that run always, which look and judge.
LOOK_ONLY = "nothing-has-this-tag"


@dataclass
class Job:
    """How a job ended: `output`, the `stats` that it left, and what it did to the project's files."""

    rc: int
    output: str
    artifacts: Json
    touched: list[str] = field(default_factory=list)


Launch = Callable[..., Job]


def state(project: Path) -> dict[str, tuple[int, int]]:
    found = (path for path in project.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(project)): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout, as AWX makes one for each job."""
    folder = tmp_path_factory.mktemp("project")
    for name in tracked():
        if name.partition("/")[0] not in ("tests", "molecule", "docs"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return folder


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
def launch(project: Path, api_server: ApiServer, storage: str, namespace: str, tmp_path: Path) -> Launch:
    """Runs a job template with answers; the kubeconfig comes by the environment, as from the credential."""
    (inventory,) = [one for one in DATA["inventories"] if one["name"] == "Celery platform"]
    variables = json.loads(
        json.dumps(inventory["variables"])
        .replace("{{ awx_namespace }}", namespace)
        .replace("{{ awx_images.redis }}", IMAGES["redis"])
        .replace("{{ awx_images.postgresql }}", IMAGES["postgresql"])
        .replace("{{ awx_images.haproxy }}", IMAGES["haproxy"])
        .replace("{{ awx_images.pgbouncer }}", IMAGES["pgbouncer"])
        .replace("{{ awx_images.app }}", IMAGES["app"])
    )
    assert "awx_" not in json.dumps(variables)
    (host,) = DATA["hosts"]
    # An account that is confined to its namespace: preflight does not judge the nodes, of which there are none.
    assert storage
    variables |= {"existing_cluster_makes_namespace": False}

    def run(template: str, answers: Json, *options: str, env: dict[str, str] | None = None) -> Job:
        before = state(project)
        data = tmp_path / "runner"
        shutil.rmtree(data, ignore_errors=True)
        (data / "artifacts").mkdir(parents=True)
        (data / "project").symlink_to(project)
        declared = TEMPLATES[template]
        done = ansible_runner.run(
            private_data_dir=str(data),
            playbook=declared["playbook"],
            inventory={"all": {"hosts": {host["name"]: host["variables"]}, "vars": variables}},
            extravars={**declared.get("extra_vars", {}), **answers},
            cmdline=" ".join(options),
            envvars={
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "KUBECONFIG": str(api_server.kubeconfig),
                # As AWX does with the `collections_path` of the project's ansible.cfg
                "ANSIBLE_COLLECTIONS_PATH": "collections",
                **(env or {}),
            },
            quiet=True,
        )
        after = state(project)
        touched = sorted({name for name in before | after if before.get(name) != after.get(name)})
        left: Json = {}
        for event in done.events:
            left |= (event["event_data"].get("artifact_data") or {}) if event["event"] == "playbook_on_stats" else {}
        return Job(done.rc, done.stdout.read(), left, touched)

    return run


SITE = [
    ({}, None),
    ({"celery_worker_profile": "medium", "celery_worker_log_level": "debug"}, None),
    ({"celery_worker_profile": "huge"}, "celery_worker_profile"),
    ({"celery_worker_log_level": "loud"}, "celery_worker_log_level"),
    ({"celery_worker_profiles": "small"}, "Did you mean celery_worker_profile"),
]
SCALE = [
    ({"celery_worker_profile": "small", "celery_worker_replicas": 4, "celery_worker_concurrency": 1}, None),
    ({"celery_worker_profile": "small", "celery_worker_replicas": "many"}, "celery_worker_replicas"),
    ({"celery_worker_profile": "small", "celery_worker_concurrency": "2.5"}, "celery_worker_concurrency"),
]


@pytest.mark.parametrize(
    ("template", "answers", "refused"),
    [*(("Platform site", *one) for one in SITE), *(("Platform scale", *one) for one in SCALE)],
    ids=lambda one: json.dumps(one) if isinstance(one, dict) else str(one),
)
def test_answers_are_judged_before_anything_is_done(
    launch: Launch, template: str, answers: Json, refused: str | None
) -> None:
    job = launch(template, answers, "--tags", LOOK_ONLY, "--limit", "localhost", "--forks", "1")
    if refused is None:
        assert job.rc == 0, job.output
        assert "existing, because" in job.output
    else:
        assert job.rc != 0, job.output
        assert refused in job.output
        assert "nothing was changed" in job.output
    assert job.touched == []


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_every_playbook_is_read_with_its_answers(launch: Launch, template: str) -> None:
    answers = {one["variable"]: one.get("default", "x") for one in TEMPLATES[template].get("survey", [])}
    job = launch(template, answers, "--syntax-check")
    assert job.rc == 0, job.output
    assert job.touched == []


def test_a_teardown_wants_the_name_as_it_is(launch: Launch, namespace: str) -> None:
    job = launch("Platform teardown", {"namespace_removed": "jewelry-shop"})
    assert job.rc != 0
    assert "To confirm, type the name as it is" in job.output
    assert namespace in job.output


def test_a_teardown_removes_the_namespace_it_was_told(launch: Launch, namespace: str, api: Api) -> None:
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


def test_a_report_is_posted_and_its_address_kept(launch: Launch, receiver: tuple[str, list[Json]]) -> None:
    address, posted = receiver
    report = {"title": "shop", "proved": True, "passed": 12, "failed": {}}
    job = launch("Platform notify", {"platform_report": report}, env={"CELERYOPS_NOTIFY_URL": address})
    assert job.rc == 0, job.output
    assert posted == [report]
    assert "secret-path" not in job.output


def test_without_a_report_or_an_address_it_says_so(launch: Launch, namespace: str) -> None:
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
