# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A slow machine is no failure: how fast something is, is what benchmarks tell.
settings.register_profile("celeryops", deadline=None)
settings.load_profile("celeryops")
