# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for AWX' API, version 24.6.1, as far as awx.awx uses it here; nothing is run.

It is stricter than AWX in one thing: a field or a filter that AWX does not know is refused, where AWX ignores a field.
`standin(folder)` serves it on a port of its own. A playbook has to be a file below `folder`, as in a project that AWX
has updated. What was asked is kept in `requests`, and what there is in `objects`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .fields import KINDS, Kind
from .surveys import faults_of_answers, faults_of_schedule, faults_of_survey

__all__ = ["TOKEN", "Controller", "standin"]

Json = dict[str, Any]
TOKEN = "the-token-of-the-tests"  # noqa: S105 - of a server that holds nothing
ROOT = "/api/v2/"
# What unified_job_templates lists.
RUNNABLE = ("job_templates", "workflow_job_templates", "projects", "inventory_sources")


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


class Controller:
    """The objects by list and number, their links, and their surveys."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.objects: dict[str, dict[int, Json]] = {name: {} for name in KINDS}
        self.links: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[tuple[str, int], Json] = {}
        self.requests: list[tuple[str, str]] = []
        self.number = 0
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, query: Json, data: Json) -> tuple[int, Any]:
        """Status and body of one request; `path` is what follows the API's root."""
        with self.lock:
            match [part for part in path.split("/") if part]:
                case ["unified_job_templates"] if method == "GET":
                    found = [one for name in RUNNABLE for one in self._found(name, query, several=True)]
                    return 200, self._page(found)
                case [name] if name in KINDS:
                    return self._list(method, name, query, data)
                case [name, number] if name in KINDS and method in ("GET", "PATCH"):
                    if method == "PATCH":
                        self._written(name, self._one(name, number), data)
                    return 200, self._shown(name, self._one(name, number))
                case [name, number, below] if name in KINDS:
                    return self._below(method, name, self._one(name, number), below, data)
        raise Refused(404, {"detail": f"Not found: {method} {path}"})

    def _list(self, method: str, name: str, query: Json, data: Json) -> tuple[int, Any]:
        if method == "GET":
            return 200, self._page(self._found(name, query))
        if method == "POST" and name != "workflow_approval_templates":
            return 201, self._shown(name, self._made(name, data))
        raise Refused(405, {"detail": f'Method "{method}" not allowed.'})

    def _below(self, method: str, name: str, one: Json, below: str, data: Json) -> tuple[int, Any]:
        if below == "survey_spec" and KINDS[name].survey:
            return 200, self._survey(method, name, one, data)
        if below == "launch" and KINDS[name].survey and method == "POST":
            return 201, self._launched(name, one, data)
        if below == "create_approval_template" and name == "workflow_job_template_nodes" and method == "POST":
            return 201, self._approval(one, data)
        if below in KINDS[name].links:
            return self._linked(method, name, one, below, data)
        raise Refused(404, {"detail": f"Not found: {name} has no {below}"})

    def _one(self, name: str, number: str) -> Json:
        if not number.isdecimal() or int(number) not in self.objects[name]:
            raise Refused(404, {"detail": "Not found."})
        return self.objects[name][int(number)]

    def _found(self, name: str, query: Json, several: bool = False) -> list[Json]:
        """What a list holds, by the fields that are asked for; of `several` kinds in one list, those that have them."""
        shown = [self._shown(name, one) for one in self.objects[name].values()]
        for key, value in query.items():
            if key not in KINDS[name].fields and key not in ("id", "type"):
                if several:
                    return []
                raise Refused(400, {"detail": f"{KINDS[name].type} has no field named '{key}'"})
            shown = [one for one in shown if str(one[key]) == value]
        return shown

    @staticmethod
    def _page(found: list[Json]) -> Json:
        return {"count": len(found), "next": None, "previous": None, "results": found}

    def _made(self, name: str, data: Json) -> Json:
        kind = KINDS[name]
        missing = [one for one in kind.required if data.get(one) in (None, "")]
        if missing:
            raise Refused(400, {one: ["This field is required."] for one in missing})
        self.number += 1
        made = {"id": self.number, **kind.fields}
        self._written(name, made, data)
        self.objects[name][self.number] = made
        return made

    def _written(self, name: str, one: Json, data: Json) -> None:
        kind = KINDS[name]
        given = {key: value for key, value in data.items() if key not in kind.shown}
        self._checked(kind, given)
        wanted = {**one, **given}
        if name == "job_templates":
            if not (self.project / str(wanted["playbook"])).is_file():
                raise Refused(400, {"playbook": ["Playbook not found for project."]})
            # A job template belongs to the organization of its project.
            wanted["organization"] = self.objects["projects"][wanted["project"]]["organization"]
        if name == "schedules" and (faults := list(faults_of_schedule(wanted["rrule"]))):
            raise Refused(400, {"rrule": faults})
        same = [
            other
            for other in self.objects[name].values()
            if kind.unique and other["id"] != one["id"] and all(other[key] == wanted[key] for key in kind.unique)
        ]
        if same:
            raise Refused(400, {"__all__": [f"{kind.type} with this {' and '.join(kind.unique)} already exists."]})
        one.update(wanted)

    def _checked(self, kind: Kind, given: Json) -> None:
        unknown = sorted(set(given) - set(kind.fields))
        if unknown:
            raise Refused(400, {one: [f"{kind.type} has no such field."] for one in unknown})
        for key, choices in kind.choices.items():
            if key in given and given[key] not in choices:
                raise Refused(400, {key: [f'"{given[key]}" is not a valid choice.']})
        for key, value in given.items():
            default = kind.fields[key]
            if isinstance(default, bool) and not isinstance(value, bool):
                raise Refused(400, {key: ["Must be a valid boolean."]})
            if isinstance(default, (str, dict)) and value is not None and not isinstance(value, type(default)):
                raise Refused(400, {key: [f"Not a valid {type(default).__name__}."]})

    def _shown(self, name: str, one: Json) -> Json:
        url = f"{ROOT}{name}/{one['id']}/"
        related = {link: f"{url}{link}/" for link in KINDS[name].links}
        if KINDS[name].survey:
            related["survey_spec"] = f"{url}survey_spec/"
        target = one.get("unified_job_template")
        if target:
            where = next(kind for kind, found in self.objects.items() if target in found)
            related["unified_job_template"] = f"{ROOT}{where}/{target}/"
        return {
            **KINDS[name].shown,
            **one,
            "type": KINDS[name].type,
            "url": url,
            "related": related,
            "summary_fields": {},
        }

    def _survey(self, method: str, name: str, one: Json, data: Json) -> Json:
        key = (name, one["id"])
        if method == "POST":
            if faults := list(faults_of_survey(data)):
                raise Refused(400, {"error": "; ".join(faults)})
            self.surveys[key] = data
            return {}
        if method == "DELETE":
            self.surveys.pop(key, None)
            return {}
        return self.surveys.get(key, {})

    def _launched(self, name: str, one: Json, data: Json) -> Json:
        survey = self.surveys.get((name, one["id"]), {}) if one["survey_enabled"] else {}
        answers = data.get("extra_vars", {})
        faults = faults_of_answers(survey, answers)
        asked = {question["variable"] for question in survey.get("spec", [])}
        ignored = sorted(set(answers) - asked) if not one["ask_variables_on_launch"] else []
        refused = {"variables_needed_to_start": faults} if faults else {}
        if ignored:
            refused["extra_vars"] = [f"Variables {', '.join(ignored)} are not allowed on launch."]
        if refused:
            raise Refused(400, refused)
        defaults = {
            question["variable"]: question["default"] for question in survey.get("spec", []) if "default" in question
        }
        self.number += 1
        return {"id": self.number, "extra_vars": json.dumps({**defaults, **answers})}

    def _approval(self, node: Json, data: Json) -> Json:
        self.number += 1
        made = {"id": self.number, **KINDS["workflow_approval_templates"].fields}
        self._written("workflow_approval_templates", made, data)
        self.objects["workflow_approval_templates"][self.number] = made
        node["unified_job_template"] = self.number
        return self._shown("workflow_approval_templates", made)

    def _linked(self, method: str, name: str, one: Json, link: str, data: Json) -> tuple[int, Any]:
        linked = self.links.setdefault((name, one["id"], link), [])
        where = "workflow_job_template_nodes" if link.endswith("_nodes") else link
        if method == "GET":
            return 200, self._page([self._shown(where, self.objects[where][number]) for number in linked])
        if method != "POST" or set(data) - {"id", "disassociate"} or data.get("id") not in self.objects.get(where, {}):
            raise Refused(400, {"detail": f"no {where} to link: {data}"})
        if data.get("disassociate"):
            linked.remove(data["id"])
        elif data["id"] not in linked:
            linked.append(data["id"])
        return 204, None


class Handler(BaseHTTPRequestHandler):
    """HTTP around a Controller, which the server carries."""

    server: Any
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        controller: Controller = self.server.controller
        address = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        data = json.loads(self.rfile.read(size) or b"{}")
        controller.requests.append((self.command, self.path))
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, {"detail": "Authentication credentials were not provided."})
            if not address.path.startswith(ROOT) or not address.path.endswith("/"):
                raise Refused(404, {"detail": "Not found."})
            path = address.path.removeprefix(ROOT)
            status, body = controller.answer(self.command, path, dict(parse_qsl(address.query)), data)
        except Refused as refused:
            status, body = refused.status, refused.body
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the requests are kept."""


@contextmanager
def standin(project: Path) -> Iterator[tuple[str, Controller]]:
    """The address of a controller that is empty, and the controller itself."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.controller = Controller(project)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.controller
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
