# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a snapshot may hold, how it is saved and read, and how rules see it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from doctor_cases import CASES, snapshot

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.diagnose import diagnose
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.shapes import (
    Redactor,
    dsn_problem,
    secret_shapes,
    shape,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import FORMAT, read, write
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.variables import environment
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import role_of
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError


def secret(name: str, **values: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_snapshot_that_was_saved_gives_the_same_diagnosis(case: dict[str, Any]) -> None:
    seen = snapshot(case)
    again = read(write(seen), "a file")
    assert again == seen
    assert diagnose(again).as_dict() == diagnose(seen).as_dict()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "JSONDecodeError"),
        ("[]", "KeyError"),
        ("{}", "KeyError"),
        (json.dumps({"format": "celeryops-doctor/0", "namespace": "x", "taken": ""}), "format 'celeryops-doctor/0'"),
        (json.dumps({"format": FORMAT, "namespace": "x", "taken": "", "more": 1}), "more"),
    ],
)
def test_what_is_no_snapshot_is_told(text: str, found: str) -> None:
    with pytest.raises(CeleryOpsError, match=found) as caught:
        read(text, "/tmp/case.json")  # noqa: S108
    assert "/tmp/case.json" in str(caught.value)  # noqa: S108
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("dsn", "problem"),
    [
        ("", ""),
        ("https://key@sentry.example/42", ""),
        ("https://key@sentry.example/path/42", ""),
        ("changeme", "does not begin with http"),
        ("None", "does not begin with http"),
        ("https://sentry.example/42", "no public key"),
        ("https://key@sentry.example/<project>", "number of a project"),
        ("https://key@/42", "no host"),
        ("https://key@[::1/42", "Invalid IPv6"),
    ],
)
def test_dsn(dsn: str, problem: str) -> None:
    assert problem in dsn_problem(dsn)
    assert bool(problem) == bool(dsn_problem(dsn))


def test_shapes_tell_form_and_place_but_no_value() -> None:
    fernet = base64.urlsafe_b64encode(b"k" * 32).decode()
    shapes = secret_shapes(
        [secret("s", KEY="correct horse battery", FERNET=fernet, URL="redis://:pa55word@redis:6379/0", NONE="")]
    )
    assert shapes["s"]["KEY"]["length"] == 21
    assert {key: one["form"] for key, one in shapes["s"].items()} == {
        "KEY": "text",
        "FERNET": "fernet",
        "URL": "url",
        "NONE": "empty",
    }
    assert shapes["s"]["URL"]["endpoint"] == "redis://redis:6379/0"
    told = json.dumps(shapes)
    assert not any(value in told for value in ("correct horse", fernet, "pa55word"))
    assert shape("http://[")["form"] == "text"


def test_known_secrets_are_taken_out_of_logs() -> None:
    redactor = Redactor(
        [secret("s", username="jewelry_app", code="p@ss/word:#1", short="abc", url="redis://u:hid%2Fden@h/0")]
    )
    lines = [
        "login of jewelry_app with p@ss/word:#1 abc",
        "redis://:p%40ss%2Fword%3A%231@redis:6379/0",
        "redis://u:other@h/0 and hid/den",
    ]
    assert redactor.value({"lines": lines}) == {
        "lines": [
            "login of jewelry_app with *** abc",
            "redis://:***@redis:6379/0",
            "redis://u:***@h/0 and ***",
        ]
    }


def test_environment_is_put_together_as_the_kubelet_does() -> None:
    seen = snapshot(
        {
            "change": {
                "objects": {
                    "Deployment": [
                        {
                            "metadata": {"name": "celery-worker"},
                            "spec": {
                                "template": {
                                    "spec": {
                                        "containers": [
                                            {
                                                "name": "worker",
                                                "env": [
                                                    {"name": "SENTRY_DSN", "value": "over"},
                                                    {"name": "PLAIN"},
                                                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                                                    {
                                                        "name": "BROKER",
                                                        "valueFrom": {
                                                            "configMapKeyRef": {
                                                                "name": "app-config",
                                                                "key": "CELERY_BROKER_URL",
                                                            }
                                                        },
                                                    },
                                                    {
                                                        "name": "GONE",
                                                        "valueFrom": {
                                                            "secretKeyRef": {"name": "app-secrets", "key": "no"}
                                                        },
                                                    },
                                                ],
                                            }
                                        ]
                                    }
                                }
                            },
                        }
                    ]
                }
            }
        }
    )
    found = environment(seen, seen.of("worker")[0])
    assert found["SENTRY_DSN"].value == "over"
    assert found["PLAIN"].value == ""
    assert found["BROKER"].endpoint == "redis://redis-0.redis-headless.shop.svc.cluster.local:6379/0"
    assert found["DJANGO_SECRET_KEY"].value is None
    assert found["DJANGO_SECRET_KEY"].shape["length"] == 64
    assert not {"NODE", "GONE"} & found.keys()


@pytest.mark.parametrize(
    ("container", "labels", "role"),
    [
        ({"args": ["celery", "-A", "x", "worker"]}, {}, "worker"),
        ({"command": ["/venv/bin/celery"], "args": ["-A", "x", "beat"]}, {}, "beat"),
        ({"command": ["sh", "-c", "exec celery -A x worker -Q a"]}, {}, "worker"),
        ({"args": ["celery", "-A", "x", "flower"]}, {}, "other"),
        ({}, {"component": "celery-worker"}, "worker"),
        ({}, {"app.kubernetes.io/component": "celery-beat"}, "beat"),
        ({"args": ["worker"]}, {}, "other"),
    ],
)
def test_role(container: dict[str, Any], labels: dict[str, str], role: str) -> None:
    obj = {"spec": {"template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}}
    assert role_of(obj) == role


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["celery", "-A", "shop", "worker"], "shop"),
        (["celery", "--app=shop", "worker"], "shop"),
        (["celery", "--app", "shop", "worker"], "shop"),
        (["celery", "-Ashop", "worker"], "shop"),
        (["celery", "worker"], None),
    ],
)
def test_options_of_the_command_line(args: list[str], found: str | None) -> None:
    change = {
        "metadata": {"name": "celery-worker"},
        "spec": {"template": {"spec": {"containers": [{"name": "worker", "args": args}]}}},
    }
    seen = snapshot({"change": {"objects": {"Deployment": [change]}}})
    assert seen.of("worker")[0].option("-A", "--app") == found
