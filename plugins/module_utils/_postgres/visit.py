# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends the program that looks at a user's own PostgreSQL into a pod of the namespace, and judges what it saw."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef, connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.podrun import run_pod
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import external, inside

__all__ = ["check", "interpret", "manifest", "request"]

Json = dict[str, Any]
_NAME = "postgresql-check"


def check(params: Mapping[str, Any], result: Json, *, check_mode: bool) -> None:
    """Fills `facts` and `findings` of the result; raises CeleryOpsError when there are findings."""
    api = connect(params)
    if check_mode and api.get(ObjectRef("v1", "Namespace", params["namespace"])) is None:
        result["unchecked"] = [f"everything: namespace {params['namespace']} is not there yet"]
        return
    _secret(api, params)
    done = run_pod(api, manifest(params), timeout=params["timeout"])
    answer = interpret(done.exit_code, done.log)
    result["facts"] = answer["endpoints"]
    wanted = external.Wanted(
        params["connections"], params["pool_mode"], params["minimum_version"], params["clients_prepare"]
    )
    found = external.findings(answer, wanted)
    result["findings"] = [finding.as_dict() for finding in found]
    if found:
        raise CeleryOpsError(
            f"PostgreSQL at {params['host']}:{params['port']} is not fit for the platform: "
            + ", ".join(f"{one.name} ({one.endpoint})" for one in found),
            expected="; ".join(one.expected for one in found),
            found="; ".join(one.found for one in found),
            remedy=" ".join(one.remedy for one in found),
        )


def _secret(api: Api, params: Mapping[str, Any]) -> None:
    """A pod would only say, after a while, that it cannot be started."""
    secret = params["secret"]
    found = api.get(ObjectRef("v1", "Secret", secret["name"], params["namespace"]))
    keys = sorted((found or {}).get("data") or {})
    missing = [secret[key] for key in ("username_key", "password_key") if secret[key] not in keys]
    if missing:
        raise CeleryOpsError(
            f"Secret '{secret['name']}' does not hold the credentials",
            expected=f"keys {secret['username_key']} and {secret['password_key']} in namespace {params['namespace']}",
            found="no such Secret" if found is None else f"keys {', '.join(keys) or 'none'}",
            remedy="Create the Secret in that namespace, or name its keys in postgresql_external.secret.",
        )


def request(params: Mapping[str, Any]) -> Json:
    """What the program is asked: no secret is in it."""
    endpoints = {external.MAIN: {"host": params["host"], "port": params["port"]}}
    if params["direct"]:
        endpoints[external.DIRECT] = {"host": params["direct"]["host"], "port": params["direct"]["port"]}
    return {"endpoints": endpoints, **{key: params[key] for key in ("database", "sslmode", "sslrootcert")}}


def manifest(params: Mapping[str, Any]) -> Json:
    secret = params["secret"]
    env = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret["name"], "key": secret[key]}}}
        for name, key in (("CHECK_USER", "username_key"), ("CHECK_PASSWORD", "password_key"))
    ]
    container = {
        "name": _NAME,
        "image": params["image"],
        "imagePullPolicy": params["image_pull_policy"],
        "command": [params["python"], "-c", inspect.getsource(inside)],
        "env": [*env, {"name": "CHECK_REQUEST", "value": json.dumps(request(params))}],
        "resources": params["resources"],
        "securityContext": params["security_context"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    labels = {"app.kubernetes.io/name": _NAME, "app.kubernetes.io/managed-by": "celeryops"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _NAME, "namespace": params["namespace"], "labels": labels},
        "spec": {
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "securityContext": params["pod_security_context"],
            "containers": [container],
        },
    }


def interpret(exit_code: int, log: str) -> Json:
    """The program's answer; raises CeleryOpsError when it gave none."""
    for line in reversed(log.splitlines()):
        if line.startswith(inside.MARK):
            answer: Json = json.loads(line.removeprefix(inside.MARK))
            return answer
    tail = " / ".join(log.strip().splitlines()[-5:])
    raise CeleryOpsError(
        "The program that looks at PostgreSQL gave no answer",
        expected="an image with a Python of 3.8 or later",
        found=f"exit status {exit_code}: {tail or 'no output'}",
        remedy="Correct image and python; 137 is the memory limit.",
    )
