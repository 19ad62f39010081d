# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes every task's result as a line of JSON to the file that E(RECORD_RESULTS) names, for tests that run plays."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: record_results
type: aggregate
short_description: Record results for tests
description: One JSON object per line with host, task and result.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record_results"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        entry = {"host": result.host.get_name(), "task": result.task.get_name(), "result": dict(result.result)}
        with Path(os.environ["RECORD_RESULTS"]).open("a", encoding="utf-8") as record:
            record.write(json.dumps(entry, default=str) + "\n")
