# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ships a program of ``inside/`` to a pod of the application's own image and reads its answer."""

from __future__ import annotations

import base64
import inspect
import json
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat import entries, plan, priority
from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside import (
    common,
    database,
    migrations,
    report,
    schedule,
    state,
    tables,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery import (
    backlog,
    census,
    inside_letters,
    look,
    survey,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery import inside as celery_inside
from ansible_collections.celeryops.platform.plugins.module_utils._doctor import inside as doctor_inside
from ansible_collections.celeryops.platform.plugins.module_utils._drill import inside as drill_inside
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Answer", "AppError", "Outcome", "command", "interpret", "manifest", "visit", "work"]

Json = dict[str, Any]
WORK = "CELERYOPS_WORK"
# One string of a process's arguments or environment ends here on Linux.
LARGEST = 128 * 1024 - 1

# Each module after those it imports.
PROGRAMS: dict[str, tuple[ModuleType, ...]] = {
    "migrations": (common, database, tables, migrations),
    "schedule": (common, survey, priority, plan, database, report, schedule),
    "state": (common, database, tables, migrations, survey, priority, plan, report, schedule, state),
    "settings": (common, survey),
    "census": (common, backlog, census),
    "letters": (common, inside_letters),
    "drill": (common, drill_inside),
    "validate": (common, backlog, celery_inside, look),
    "doctor": (common, tables, backlog, celery_inside, doctor_inside),
}

# Modules that are in sys.modules already are not looked for, nor are their packages.
BOOTSTRAP = f"""\
import base64, json, os, sys, types, zlib
packed = os.environ.pop({WORK!r}, "") or sys.stdin.read(int(sys.argv[1]))
for name in sys.argv[2:]:
    os.environ.pop(name, None)
del sys.argv[1:]
work = json.loads(zlib.decompress(base64.b64decode(packed)))
for name, text in work["modules"]:
    parent, _, child = name.rpartition(".")
    package = sys.modules.setdefault(parent, types.ModuleType(parent))
    package.__path__ = []
    module = sys.modules[name] = types.ModuleType(name)
    setattr(package, child, module)
    exec(compile(text, child + ".py", "exec"), module.__dict__)
sys.modules[work["common"]].run(module.main, work["request"])
"""


@dataclass(frozen=True)
class Outcome:
    """How the process in the pod ended."""

    exit_code: int | None
    log: str


class AppError(CeleryOpsError):
    """The program in the pod refused or failed; ``kind`` says how, ``details`` what it had done."""

    def __init__(self, kind: str, message: str, **given: Any) -> None:
        self.kind = kind
        super().__init__(message, **given)


Answer = Json
Run = Callable[[Json, float], Outcome]


def work(program: str, request: Mapping[str, Any]) -> dict[str, str]:
    """The environment variable that carries the program and its request."""
    packed = _packed(program, request)
    if len(packed) + len(WORK) + 1 > LARGEST:
        raise CeleryOpsError(
            "The request is too large for a pod's environment",
            expected=f"{LARGEST} characters, packed",
            found=f"{len(packed)}",
            remedy="Split the schedule over several tasks.",
        )
    return {WORK: packed}


def visit(python: str, program: str, request: Mapping[str, Any], without: Collection[str]) -> tuple[list[str], str]:
    """Command and standard input for a container that runs already; its variables `without` are left out."""
    packed = _packed(program, request)
    # The exact number of characters is read: a container's standard input cannot always be closed.
    return [*command(python), str(len(packed)), *sorted(without)], packed


def _packed(program: str, request: Mapping[str, Any]) -> str:
    modules = PROGRAMS[program]
    texts = [(one.__name__, inspect.getsource(one)) for one in modules]
    load = {"modules": texts, "common": common.__name__, "request": dict(request)}
    return base64.b64encode(zlib.compress(json.dumps(load).encode(), 9)).decode()


def command(python: str) -> list[str]:
    """What the container runs; its working directory is where the application is imported from."""
    return [python, "-c", BOOTSTRAP]


def manifest(name: str, params: Mapping[str, Any], environment: Mapping[str, str]) -> Json:
    """The pod, from the options of argspec.APP_ARGS; ``environment`` is added to the application's."""
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "celeryops"}
    sources = [{"configMapRef": {"name": one}} for one in params["config_maps"]]
    sources += [{"secretRef": {"name": one}} for one in params["secrets"]]
    container = {
        "name": name,
        "image": params["image"],
        "imagePullPolicy": params["image_pull_policy"],
        "command": command(params["python"]),
        "envFrom": sources,
        "env": [
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": "PYTHONFAULTHANDLER", "value": "1"},
            *(params["env"] or []),
            *({"name": key, "value": value} for key, value in environment.items()),
        ],
        "resources": params["resources"],
        "securityContext": params["security_context"],
        "volumeMounts": params["volume_mounts"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": params["namespace"],
            "labels": {**labels, "app.kubernetes.io/part-of": params["namespace"]},
        },
        "spec": {
            # A Service named redis would put REDIS_PORT=tcp://... into the environment.
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "securityContext": params["pod_security_context"],
            "containers": [container],
            "volumes": params["volumes"],
        },
    }


def interpret(outcome: Outcome) -> Answer:
    """The program's result; raises :class:`AppError` for its refusal, and when it gave no answer."""
    for line in reversed(outcome.log.splitlines()):
        if line.startswith(common.MARK):
            answer: Json = json.loads(line[len(common.MARK) :])
            if "result" in answer:
                result: Json = answer["result"]
                return result
            error = answer["error"]
            if error["kind"] == "schedule":
                raise entries.ScheduleError(error["details"]["problems"])
            told = {key: error[key] for key in ("expected", "found", "remedy")}
            raise AppError(error["kind"], error["message"], **told, **error["details"])
    tail = " / ".join(outcome.log.strip().splitlines()[-5:])
    raise AppError(
        "silent",
        "The program in the application's image gave no answer",
        expected="an image whose Python has Django, Celery and django-celery-beat",
        found=f"exit status {outcome.exit_code}: {tail or 'no output'}",
        remedy="Check image and python. 137 is the memory limit: raise the resources then.",
    )
