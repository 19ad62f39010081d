# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys against what the roles take: every question follows from the specification of the variable it asks for."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from helpers.awx import DATA
from helpers.modules import ROOT

Json = dict[str, Any]
QUESTIONS = [
    pytest.param(one["name"], question, id=f"{one['name']}: {question['variable']}")
    for one in [*DATA["job_templates"], *DATA["workflows"]]
    for question in one.get("survey", [])
]
# What a playbook takes beside its roles: the variable, the playbook and its choices.
OF_PLAYBOOKS = {"validate_drill": ("validate.yml", ["false", "true"])}


def specifications() -> Json:
    """Every option of every role."""
    found: Json = {}
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry in entries.values():
            found |= entry.get("options") or {}
    return found


SPECIFICATIONS = specifications()


def derived(variable: str) -> Json:
    """The parts of a question that follow from a specification."""
    spec = SPECIFICATIONS[variable]
    kind = spec.get("type", "str")
    made: Json = {"type": {"str": "text", "int": "integer", "float": "float"}.get(kind)}
    if "choices" in spec:
        made |= {"type": "multiplechoice", "choices": spec["choices"]}
    told = " ".join(spec["description"]) if isinstance(spec["description"], list) else spec["description"]
    for key, words in (("min", "at least"), ("max", "at most")):
        if bound := re.search(rf"\b{words} (\d+)\b", told):
            made[key] = int(bound[1])
    return made


@pytest.mark.parametrize(
    ("template", "question"), [one for one in QUESTIONS if one.values[1]["variable"] not in OF_PLAYBOOKS]
)
def test_a_question_follows_from_the_specification(template: str, question: Json) -> None:
    variable = question["variable"]
    assert variable in SPECIFICATIONS, f"{template} asks for {variable}, which no role takes"
    asked = {key: question[key] for key in ("type", "choices", "min", "max") if key in question}
    assert asked == derived(variable)
    if SPECIFICATIONS[variable].get("required"):
        assert question["required"], f"{variable} has no default"


@pytest.mark.parametrize(("template", "question"), QUESTIONS)
def test_a_blank_answer_leaves_the_variable_to_the_inventory(template: str, question: Json) -> None:
    """AWX gives a job the defaults of questions as answers, which go over everything that the inventory says."""
    assert "default" not in question, f"{template} would overrule the inventory's {question['variable']}"


@pytest.mark.parametrize(
    ("template", "question"), [one for one in QUESTIONS if one.values[1]["variable"] in OF_PLAYBOOKS]
)
def test_a_question_of_a_playbook_is_one_that_it_takes(template: str, question: Json) -> None:
    playbook, choices = OF_PLAYBOOKS[question["variable"]]
    assert next(one for one in DATA["job_templates"] if one["name"] == template)["playbook"] == f"playbooks/{playbook}"
    text = (ROOT / "playbooks" / playbook).read_text(encoding="utf-8")
    assert re.search(rf"\b{question['variable']} \| default\(false\) \| bool\b", text)
    assert (question["type"], question["choices"]) == ("multiplechoice", choices)


@pytest.mark.parametrize("template", DATA["job_templates"], ids=lambda one: one["name"])
def test_every_job_template_runs_a_playbook_that_is_there(template: Json) -> None:
    assert (ROOT / template["playbook"]).is_file()


@pytest.mark.parametrize("template", DATA["job_templates"], ids=lambda one: one["name"])
def test_tags_of_a_job_template_are_tags_of_its_playbook(template: Json) -> None:
    text = (ROOT / template["playbook"]).read_text(encoding="utf-8")
    known = {tag for tags in re.findall(r"^\s+tags: \[(.*)\]$", text, re.MULTILINE) for tag in tags.split(", ")}
    assert set(filter(None, template.get("job_tags", "").split(","))) <= known


def test_a_workflow_that_needs_an_answer_asks_for_it() -> None:
    """A node gets the answers of its workflow; a question that must be answered would else stop it in the middle."""
    templates = {one["name"]: one for one in DATA["job_templates"]}
    for workflow in DATA["workflows"]:
        asked = {question["variable"]: question for question in workflow.get("survey", [])}
        for node in workflow["nodes"]:
            for question in templates.get(node.get("template", ""), {}).get("survey", []):
                if question["required"]:
                    assert asked.get(question["variable"]) == question, workflow["name"]


def test_workflows_and_schedules_name_what_there_is() -> None:
    templates = {one["name"] for one in DATA["job_templates"]}
    for workflow in DATA["workflows"]:
        names = [node["identifier"] for node in workflow["nodes"]]
        assert len(names) == len(set(names))
        for node in workflow["nodes"]:
            assert ("approval" in node) != (node.get("template") in templates)
            assert set(node.get("success", []) + node.get("failure", []) + node.get("always", [])) <= set(names)
    assert {one["template"] for one in DATA["schedules"]} <= templates
    dangerous = {"Platform drill", "Platform teardown", "Platform upgrade"}
    assert not dangerous & {one["template"] for one in DATA["schedules"]}


def test_the_inventory_names_every_image_that_would_be_built() -> None:
    """Nothing is built in a job: a role whose image is an artifact has to be told another one."""
    on_existing = {"app", "haproxy", "pgbouncer", "postgresql", "redis"}
    (inventory,) = [one for one in DATA["inventories"] if one["name"] == "Celery platform"]
    existing = yaml.safe_load((ROOT / "inventories/existing/group_vars/all.yml").read_text(encoding="utf-8"))
    assert set(existing["artifacts_names"]) == on_existing
    named = set()
    for path in sorted((ROOT / "roles").glob("*/defaults/**/*.yml")):
        for variable, artifact in re.findall(
            r"^(\w+_image): .*artifacts_images\['([\w-]+)'\]", path.read_text(), re.MULTILINE
        ):
            if artifact in on_existing and variable != "postgresql_external_image":
                named.add(variable)
    assert named
    assert named <= set(inventory["variables"]), "name it in awx/content.yml, and its image in awx_images"
