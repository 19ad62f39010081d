# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/awx.yml against a stand-in for AWX' API that refuses fields which AWX does not have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import run_awx
from helpers.awx import DATA
from standins.awx.server import Controller

pytestmark = pytest.mark.slow

Applied = tuple[Controller, dict[str, dict[str, Any]]]


def named(server: Controller, kind: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in server.objects[kind].values()}


def test_a_check_of_an_empty_controller_writes_nothing_and_says_so(applied: Applied) -> None:
    _server, runs = applied
    assert runs["first check"]["changed"] > 0
    assert runs["first check"]["written"] == []


def test_a_second_run_has_nothing_to_do(applied: Applied) -> None:
    _server, runs = applied
    assert runs["first"]["changed"] > 0
    assert runs["second"]["changed"] == 0
    assert runs["second"]["written"] == []


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("organizations", "organizations"),
        ("credential_types", "credential_types"),
        ("execution_environments", "execution_environments"),
        ("projects", "projects"),
        ("inventories", "inventories"),
        ("hosts", "hosts"),
        ("inventory_sources", "inventory_sources"),
        ("job_templates", "job_templates"),
        ("workflow_job_templates", "workflows"),
        ("schedules", "schedules"),
    ],
)
def test_everything_that_is_declared_is_there_and_nothing_else(applied: Applied, kind: str, data: str) -> None:
    names = {"Celery" if "{{" in one["name"] else one["name"] for one in DATA[data]}
    assert set(named(applied[0], kind)) == names


def test_credential_types_inject_files_and_hold_no_secret(applied: Applied) -> None:
    kubeconfig = named(applied[0], "credential_types")["Kubeconfig"]
    assert kubeconfig["injectors"]["file"] == {"template.kubeconfig": "{{ kubeconfig }}"}
    assert kubeconfig["injectors"]["env"]["KUBECONFIG"] == "{{ tower.filename.kubeconfig }}"
    assert applied[0].objects["credentials"] == {}
    fields = [one for kind in DATA["credential_types"] for one in kind["inputs"]["fields"]]
    assert all(one["secret"] for one in fields)
    assert not any("default" in one for one in fields)


def test_the_inventory_names_images_and_leaves_the_kubeconfig_to_the_credential(applied: Applied) -> None:
    variables = json.loads(named(applied[0], "inventories")["Celery platform"]["variables"])
    assert variables["celery_app_image"] == "registry.example.com/shop/app:1"
    assert variables["artifacts_names"] == []
    assert not {"platform_kubeconfig", "platform_context"} & set(variables)
    host = json.loads(named(applied[0], "hosts")["localhost"]["variables"])
    assert host["ansible_python_interpreter"] == "{{ ansible_playbook_python }}"


@pytest.mark.parametrize("template", DATA["job_templates"], ids=lambda one: one["name"])
def test_a_survey_is_what_is_declared(applied: Applied, template: dict[str, Any]) -> None:
    server, _runs = applied
    made = named(server, "job_templates")[template["name"]]
    assert made["survey_enabled"] is ("survey" in template)
    stored = server.surveys.get(("job_templates", made["id"]), {})
    assert stored.get("spec", []) == template.get("survey", [])
    assert made["execution_environment"] == named(server, "execution_environments")["Celery platform"]["id"]


def follow(server: Controller, workflow: str) -> dict[str, dict[str, set[str]]]:
    """What follows each node of a workflow, by the link."""
    number = named(server, "workflow_job_templates")[workflow]["id"]
    nodes = server.objects["workflow_job_template_nodes"]
    mine = {key: one for key, one in nodes.items() if one["workflow_job_template"] == number}
    return {
        one["identifier"]: {
            link: {nodes[other]["identifier"] for other in server.links.get((*kind, key, link), [])}
            for link in ("success_nodes", "failure_nodes", "always_nodes")
            for kind in [("workflow_job_template_nodes",)]
        }
        for key, one in mine.items()
    }


def test_the_platform_is_brought_up_then_proved_then_reported(applied: Applied) -> None:
    assert follow(applied[0], "Platform, proven") == {
        "site": {"success_nodes": {"validate"}, "failure_nodes": {"notify"}, "always_nodes": set()},
        "validate": {"success_nodes": set(), "failure_nodes": set(), "always_nodes": {"notify"}},
        "notify": {"success_nodes": set(), "failure_nodes": set(), "always_nodes": set()},
    }


@pytest.mark.parametrize(("workflow", "dangerous"), [("Platform, drilled", "drill"), ("Platform, removed", "teardown")])
def test_what_destroys_comes_after_an_approval_only(applied: Applied, workflow: str, dangerous: str) -> None:
    server, _runs = applied
    links = follow(server, workflow)
    before = {name for name, ways in links.items() for follows in ways.values() if dangerous in follows}
    assert before == {"approve"}
    assert links["approve"]["success_nodes"] == {dangerous}
    assert not links["approve"]["failure_nodes"] | links["approve"]["always_nodes"]
    node = next(
        one
        for one in server.objects["workflow_job_template_nodes"].values()
        if one["identifier"] == "approve"
        and one["workflow_job_template"] == named(server, "workflow_job_templates")[workflow]["id"]
    )
    approval = server.objects["workflow_approval_templates"][node["unified_job_template"]]
    assert approval["timeout"] == 3600
    assert not [one for one in server.objects["schedules"].values() if one["unified_job_template"] == node["id"]]


def test_drift_is_put_right_and_nothing_else_is_written(
    applied: Applied, controller: tuple[str, Controller], collections: Path, tmp_path: Path
) -> None:
    address, server = controller
    template = named(server, "job_templates")["Platform scale"]
    template["job_tags"] = "celery"
    node = next(
        key for key, one in server.objects["workflow_job_template_nodes"].items() if one["identifier"] == "site"
    )
    server.links["workflow_job_template_nodes", node, "success_nodes"].clear()
    asked = len(server.requests)
    run = run_awx(address, collections, tmp_path)
    assert run["rc"] == 0, run["output"][-4000:]
    written = [one for one in server.requests[asked:] if one[0] != "GET"]
    assert sorted(written) == [
        ("PATCH", f"/api/v2/job_templates/{template['id']}/"),
        ("POST", f"/api/v2/workflow_job_template_nodes/{node}/success_nodes/"),
    ]
    assert template["job_tags"] == "worker,verify"
    assert run["changed"] == 2


def test_a_credential_that_is_not_there_is_named(
    applied: Applied, controller: tuple[str, Controller], collections: Path, tmp_path: Path
) -> None:
    run = run_awx(controller[0], collections, tmp_path, awx_credentials=["shop's cluster"])
    assert run["rc"] != 0
    assert "shop%27s+cluster" in run["output"]


def test_without_images_nothing_is_written(
    collections: Path, tmp_path: Path, controller: tuple[str, Controller]
) -> None:
    asked = len(controller[1].requests)
    run = run_awx(controller[0], collections, tmp_path, awx_images={"redis": "only"})
    assert run["rc"] != 0
    assert "missing required arguments" in run["output"]
    assert controller[1].requests[asked:] == []
