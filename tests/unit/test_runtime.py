# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What meta/runtime.yml says of the collection's plugins agrees with the plugins."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
PREFIX = "celeryops.platform."
MODULES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "plugins/modules").glob("*.py")}


# They do their work on the controller, and ask no API server.
BESIDE = {"local_nodes"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_who_speaks_to_the_api_server_is_in_the_group_and_works_in_ansibles_process(name: str) -> None:
    speaks = "KUBE_ARGS" in MODULES[name]
    assert speaks == (PREFIX + name in RUNTIME["action_groups"]["kube"])
    own = (ROOT / "plugins/action" / f"{name}.py").exists()
    routed = RUNTIME["plugin_routing"]["modules"].get(name) == {"action_plugin": f"{PREFIX}inline"}
    assert routed == ((speaks and not own) or name in BESIDE)
