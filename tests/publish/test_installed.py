# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection where somebody else installed it: offline, beside nothing of this checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.modules import ROOT
from helpers.published import Installed

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.sources import digests

PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
INVENTORIES = sorted(path.name for path in (ROOT / "inventories").iterdir())
CONTEXTS = [ROOT / "apps/jewelry_shop", *sorted((ROOT / "roles/artifacts/files").glob("*/*"))]


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_playbook_is_found_by_its_name(installed: Installed, playbook: str) -> None:
    name = f"celeryops.platform.{playbook}"
    assert "playbook: " in installed.run("ansible-playbook", "-i", "localhost,", name, "--syntax-check")


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_site_lists_its_tasks_for_every_inventory(installed: Installed, inventory: str) -> None:
    path = installed.collection / "inventories" / inventory
    said = installed.run("ansible-playbook", "-i", str(path), "celeryops.platform.site", "--list-tasks")
    for role in ("preflight", "artifacts", "redis", "postgresql", "celery_worker", "celery_beat", "verify"):
        assert f"{role} :" in said


def test_roles_and_modules_come_from_where_it_was_installed(installed: Installed) -> None:
    play = installed.home / "play.yml"
    play.write_text(
        """
- hosts: localhost
  gather_facts: false
  tasks:
    - celeryops.platform.platform_summary: {title: here, checks: [], pods: []}
    - ansible.builtin.include_role: {name: celeryops.platform.cluster}
      vars: {cluster_provider: existing, platform_kubeconfig: /nowhere}
    - ansible.builtin.debug: {msg: "{{ lookup('celeryops.platform.role_variable', 'artifacts_app_dir') }}"}
""",
        encoding="utf-8",
    )
    said = installed.run("ansible-playbook", "-i", "localhost,", "-c", "local", str(play))
    shown = json.loads('"' + said.partition('"msg": "/')[2].partition('"')[0] + '"')
    assert Path(f"/{shown}").resolve() == installed.collection / "apps/jewelry_shop"
    assert str(ROOT) not in said


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda path: "/".join(path.relative_to(ROOT).parts[-3:]))
def test_what_is_built_from_it_has_the_same_key(installed: Installed, context: Path) -> None:
    """A key is made of the digests of an artefact's files: an installed collection finds what a checkout has built."""
    assert digests(str(installed.collection / context.relative_to(ROOT))) == digests(str(context))


def test_documentation_of_every_module_and_role_can_be_read(installed: Installed) -> None:
    modules = json.loads(installed.run("ansible-doc", "--json", "--list", "celeryops.platform"))
    assert set(modules) == {f"celeryops.platform.{path.stem}" for path in (ROOT / "plugins/modules").glob("*.py")}
    roles = json.loads(installed.run("ansible-doc", "--json", "--type", "role", "--list", "celeryops.platform"))
    described = {path.parents[1].name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")}
    assert set(roles) == {f"celeryops.platform.{name}" for name in described}
