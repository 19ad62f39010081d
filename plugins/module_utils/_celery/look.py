# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole answer of a worker's container to celery_validate: what inside.py asks, and what surrounds it.

Shipped as text beside backlog.py, inside.py and _beat/inside/common.py. Any Python from 3.9 on.
"""

# Celery and Django are the pod's: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import io
import os
import re
import uuid
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import load_celery
from ansible_collections.celeryops.platform.plugins.module_utils._celery import backlog, inside

__all__ = ["main"]

Json = dict[str, Any]


def main(request: Json) -> Json:
    """Request: the options of inside.answer. Answer: what that answers, and `given_url`, `backend`, `django`,
    `declared`, `backlog` (two readings)."""
    with contextlib.redirect_stdout(io.StringIO()):
        # An application may write what it made of it back into its environment.
        given = os.environ.get("CELERY_BROKER_URL")
        app = load_celery(request["app"])
        app.loader.import_default_modules()
        before, problem = _backlog(app, request)
        found = inside.answer(request)
        after, problem = _backlog(app, request) if before is not None else (None, problem)
    return {
        **found,
        "given_url": re.sub(r"//[^/@]*@", "//", given) if given else None,
        "backend": backend(app),
        "django": django_check(),
        "declared": {
            "queues": sorted(app.amqp.queues),
            "creates_missing": bool(app.conf.task_create_missing_queues),
        },
        "backlog": None if after is None else [before, after],
        "backlog_problem": problem,
    }


def _backlog(app: Any, request: Json) -> tuple[Json | None, str | None]:
    own, fanout = backlog.declared(app)
    try:
        with backlog.opened(app.connection_for_read(), request["within"]) as channel:
            return backlog.read(channel, own.union(request["queues"]), fanout)["queues"], None
    except backlog.Unknown as reason:
        return None, str(reason)
    except Exception as problem:
        return None, f"{type(problem).__name__}: {problem}"


def backend(app: Any) -> Json:
    """`kind`, and the `problem` with it. To delete a key that is not there is a write that changes nothing."""
    kind = type(app.backend).__name__
    if kind == "DisabledBackend":
        return {"kind": "disabled", "problem": None}
    name = f"celeryops-validate-{uuid.uuid4()}"
    try:
        client = getattr(app.backend, "client", None)
        if client is not None and hasattr(client, "delete"):
            client.delete(name)
        else:
            app.backend.get_state(name)
    except Exception as problem:
        return {"kind": kind, "problem": f"{type(problem).__name__}: {problem}"}
    return {"kind": kind, "problem": None}


def django_check() -> Json | None:
    """What Django's system checks say; None without Django."""
    try:
        from django.apps import apps
        from django.core import checks
    except ImportError:
        return None
    if not apps.ready:
        return None
    told = checks.run_checks()
    return {
        "errors": [f"{one.id}: {one.msg}" for one in told if one.is_serious()],
        "warnings": [f"{one.id}: {one.msg}" for one in told if not one.is_serious()],
    }
