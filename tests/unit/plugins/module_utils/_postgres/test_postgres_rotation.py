# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How old credentials are."""

from __future__ import annotations

import datetime

from ansible_collections.celeryops.platform.plugins.module_utils._postgres.rotation import age_in_days

NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)


def test_age_from_kubernetes_time() -> None:
    assert age_in_days("2026-11-25T00:00:00Z", NOW) == 2.5


def test_what_has_no_time_is_as_old_as_can_be() -> None:
    assert age_in_days("", NOW) == float("inf")
