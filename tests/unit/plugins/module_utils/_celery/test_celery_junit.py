# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks as a CI reads them."""

from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.celeryops.platform.plugins.module_utils._celery.junit import junit

CHECKS = [
    {"name": "workers running", "passed": True, "evidence": "3 of 3 <ready> & well", "remedy": None},
    {"name": 'beat "running"', "passed": False, "evidence": "0 of 1\x00", "remedy": "look at its log"},
    {"name": "tasks", "passed": None, "evidence": "not sent", "remedy": None},
]


def test_every_check_is_a_case() -> None:
    # The text was written by the function under test.
    suite = ElementTree.fromstring(junit("jewelry-shop", CHECKS))  # noqa: S314
    assert suite.attrib == {"name": "jewelry-shop", "tests": "3", "failures": "1", "errors": "0", "skipped": "1"}
    first, second, third = suite.findall("testcase")
    assert (first.get("name"), first.findtext("system-out")) == ("workers running", "3 of 3 <ready> & well")
    failure = second.find("failure")
    assert failure is not None
    assert (second.get("name"), failure.get("message")) == ('beat "running"', "0 of 1?")
    assert failure.text == "remedy: look at its log"
    skipped = third.find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "not sent"


def test_no_checks_at_all() -> None:
    suite = ElementTree.fromstring(junit("x", []))  # noqa: S314
    assert suite.get("tests") == "0"
