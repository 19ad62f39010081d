# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX takes as a survey, and as its answers; after views/__init__.py and models/mixins.py of AWX 24.6."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["faults_of_answers", "faults_of_schedule", "faults_of_survey"]

Json = dict[str, Any]
TYPES = {
    **{"text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": (str, list)},
    **{"integer": int, "float": (int, float)},
}
KEYS = {
    *("type", "question_name", "question_description", "variable", "required", "default"),
    *("min", "max", "choices"),
}


def faults_of_survey(survey: Mapping[str, Any]) -> Iterator[str]:
    """What AWX refuses, and any key of a question that it has no use for."""
    for key, kind in (("name", str), ("description", str), ("spec", list)):
        if not isinstance(survey.get(key), kind):
            yield f"'{key}' is missing from survey spec, or is no {kind.__name__}."
            return
    if not survey["spec"]:
        yield "'spec' doesn't contain any items."
    names = [one.get("variable") for one in survey["spec"]]
    yield from (f"'variable' '{name}' duplicated" for name in set(names) if names.count(name) > 1)
    for question in survey["spec"]:
        yield from _faults_of_question(question)


def _faults_of_question(question: Json) -> Iterator[str]:
    name = question.get("variable")
    for key, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
        if not isinstance(question.get(key), kind):
            yield f"{name}: '{key}' missing, or no {kind.__name__}"
            return
    yield from (f"{name}: no such key as '{key}'" for key in sorted(set(question) - KEYS))
    kind = question["type"]
    if kind not in TYPES:
        yield f"{name}: '{kind}' is not one of the allowed question types."
        return
    default = question.get("default", "")
    if default != "" and (not isinstance(default, TYPES[kind]) or isinstance(default, bool)):
        yield f"{name}: default value {default!r} expected to be {kind}."
    yield from (
        f"{name}: the {key} limit expected to be integer."
        for key in ("min", "max")
        if question.get(key) is not None and not isinstance(question[key], int)
    )
    if kind in ("multiplechoice", "multiselect"):
        if "choices" not in question:
            yield f"{name}: must specify choices."
        elif any(one not in _lines(question["choices"]) for one in _lines(default)):
            yield f"{name}: default choice must be answered from the choices listed."


def faults_of_answers(survey: Mapping[str, Any], answers: Mapping[str, Any]) -> list[str]:
    """As a launch checks them."""
    return [fault for question in survey.get("spec", []) for fault in _faults_of_answer(question, answers)]


def _faults_of_answer(question: Json, answers: Mapping[str, Any]) -> Iterator[str]:
    name, kind = question["variable"], question["type"]
    if name not in answers:
        if question["required"]:
            yield f"'{name}' value missing"
        return
    value = answers[name]
    if kind in ("text", "textarea", "password") and not isinstance(value, str):
        yield f"Value {value} for '{name}' expected to be a string."
    elif kind == "integer" and type(value) is not int:
        yield f"Value {value} for '{name}' expected to be an integer."
    elif kind == "float" and type(value) not in (int, float):
        yield f"Value {value} for '{name}' expected to be a numeric type."
    elif kind == "multiplechoice" and value not in _lines(question["choices"]):
        yield f"Value {value} for '{name}' expected to be one of {question['choices']}."
    elif kind == "multiselect" and not isinstance(value, list):
        yield f"'{name}' value is expected to be a list."
    elif kind == "multiselect" and set(value) - set(_lines(question["choices"])):
        yield f"Value {value} for '{name}' expected to be some of {question['choices']}."
    elif kind not in ("multiplechoice", "multiselect"):
        size = len(value) if isinstance(value, str) else value
        if question.get("min") is not None and size < question["min"]:
            yield f"'{name}' value {value} is too small (must be at least {question['min']})."
        if question.get("max") is not None and size > question["max"]:
            yield f"'{name}' value {value} is too large (must be no more than {question['max']})."


def _lines(text: Any) -> list[str]:
    return [line for line in text.splitlines() if line.strip()] if isinstance(text, str) else list(text)


def faults_of_schedule(rule: str) -> Iterator[str]:
    """As SchedulePreviewSerializer reads it."""
    if len(re.findall(r"DTSTART(?:;[^:]+)?:[0-9]+T[0-9]+Z?", rule)) != 1:
        yield "Exactly one valid DTSTART required in rrule."
    if re.search(r"DTSTART:[0-9]+T[0-9]+ ", rule):
        yield "DTSTART cannot be a naive datetime."
    rules = re.findall(r"RRULE:(\S*)", rule)
    if not rules:
        yield "One or more rule required in rrule."
    for one in rules:
        parts = dict(part.partition("=")[::2] for part in one.split(";"))
        if "INTERVAL" not in parts:
            yield f"INTERVAL required in rrule: {one}"
        if parts.get("FREQ") not in ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"):
            yield f"rrule parsing failed validation: {one}"
