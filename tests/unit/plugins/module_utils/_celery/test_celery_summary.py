# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.celeryops.platform.plugins.module_utils._celery.summary import Line, render

CHECKS = [
    {"name": "workers running", "passed": True, "evidence": "3 of 3 ready", "remedy": None},
    {"name": "probes", "passed": False, "evidence": " ".join(["word"] * 30), "remedy": "set them"},
    {"name": "a task", "passed": None, "evidence": "check mode sends no task", "remedy": None},
]
PODS = [{"component": "worker", "name": "celery-worker-a", "node": None, "ready": False, "restarts": 2}]
COMMANDS = [{"what": "watch", "command": "kubectl " + "x" * 100}]


def test_report() -> None:
    lines = render("shop", CHECKS, PODS, COMMANDS, 80)
    assert [line.text for line in lines] == [
        "shop: 1 of 3 checks passed, 1 open",
        "",
        "  passed  workers running  3 of 3 ready",
        "  FAILED  probes           word word word word word word word word word word",
        "                           word word word word word word word word word word",
        "                           word word word word word word word word word word",
        "                           → set them",
        "  open    a task           check mode sends no task",
        "",
        "Where things run",
        "  pod              node  ready  restarts",
        "  celery-worker-a  -     no     2",
        "",
        "To try next",
        "  watch  kubectl " + "x" * 100,
    ]
    assert lines[0].tone == "bad"
    assert [line.tone for line in lines[2:8]] == ["good", "bad", "bad", "bad", "bad", "open"]


def test_nothing_checked() -> None:
    assert render("shop", [], [], [], 80) == [Line("shop: 0 of 0 checks passed", "good"), Line("")]
