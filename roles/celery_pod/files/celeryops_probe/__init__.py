# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heartbeats and metrics for any Celery worker and beat, without a change to the application.

Celery loads every entry point of the group ``celery.commands`` when its command line starts,
before it loads the application. That is the hook: one directory on PYTHONPATH serves worker and
beat alike, ``-A``, ``--scheduler``, the loader and the application's own ``include`` stay as they
are, and nothing of Django is imported. Only signals are connected here; the work is done when a
worker or beat really starts, so that ``celery inspect`` and friends pay nothing.
"""

from __future__ import annotations

import os
import pathlib

import click
from celery import signals

from celeryops_probe.state import STATE_DIR

__all__ = ("command",)


def _on_worker_init(sender=None, **_):
    from celeryops_probe import worker  # noqa: PLC0415  only a worker needs it

    worker.install(sender)


def _on_beat_init(sender=None, **_):
    from celeryops_probe import beat  # noqa: PLC0415  only beat needs it

    beat.install(sender)


# Without a state directory this is somebody's shell, not a pod of ours.
if os.environ.get("CELERYOPS_STATE_DIR"):
    signals.worker_init.connect(_on_worker_init, weak=False, dispatch_uid="celeryops_probe")
    signals.beat_init.connect(_on_beat_init, weak=False, dispatch_uid="celeryops_probe")


@click.command("celeryops-probe")
def command():
    """Show what the probes of this pod read: one line per file."""
    for path in sorted(pathlib.Path(STATE_DIR).glob("*")):
        click.echo(f"{path.name}: {path.read_text().strip()}")
