# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in the documentation: each is run by a test, or listed and counted as one that takes the net."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs/docsite/rst").glob("*.rst")),
    *sorted(ROOT.glob("examples/*/README.md")),
    *sorted(ROOT.glob("apps/*/README.md")),
]
SHELLS = ("console", "shell", "bash", "sh")

# The command, or what it begins with, and what runs it, or the playbook behind it: a file, and words in that file.
RUN = {
    "make site INVENTORY=inventories/k3d": ("tests/integration/test_k3d_role.py", "k3d"),
    "make site INVENTORY=inventories/existing": (
        "tests/integration/test_existing_cluster_info.py",
        "inventories/existing",
    ),
    "make site": ("molecule/default/converge.yml", "site.yml"),
    "make test": (".ci/run", "make test"),
    "make molecule SCENARIO=": ("tests/run.py", "def molecule"),
    "make publish": ("tests/run.py", "def publish"),
    "make ee": ("tests/integration/awx/test_execution_environment.py", "ansible-builder"),
    "ansible-galaxy collection build": ("tests/publish/conftest.py", '"collection", "build"'),
    "antsibull-changelog release": ("tests/publish/test_docsite.py", '"release"'),
    "ansible-playbook playbooks/artifacts.yml": ("tests/run.py", "playbooks/artifacts.yml"),
    "ansible-playbook playbooks/awx.yml": ("tests/integration/awx/conftest.py", "playbooks/awx.yml"),
    "ansible-playbook playbooks/doctor.yml": ("tests/integration/celery/test_celery_doctor_replay.py", "doctor"),
    "ansible-playbook -i inventories/local playbooks/doctor.yml": (
        "tests/integration/celery/test_celery_doctor_replay.py",
        "doctor",
    ),
    ".venv/bin/ansible-playbook -i inventories/local playbooks/doctor.yml": (
        "molecule/default/verify.yml",
        "doctor.yml",
    ),
    ".venv/bin/ansible-playbook -i inventories/local playbooks/validate.yml": (
        "molecule/default/verify.yml",
        "validate.yml",
    ),
    "ansible-playbook -i inventories/local playbooks/validate.yml": ("molecule/default/verify.yml", "validate.yml"),
    "ansible-playbook -i inventories/local playbooks/drill.yml": (
        "tests/integration/awx/test_jobs_on_platform.py",
        "Platform drill",
    ),
    "ansible localhost -m celeryops.platform.celery_dead_letters": (
        "tests/integration/celery/test_drill_in_cluster.py",
        "celery_dead_letters",
    ),
    "ansible-playbook -i inventories/local site.yml -e postgresql_rotate=true": (
        "tests/integration/postgresql/test_postgresql_rotation.py",
        "postgresql_rotate=True",
    ),
    "kubectl -n jewelry-shop create secret generic redis-tls": (
        "tests/unit/plugins/module_utils/_redis/test_redis_certificate.py",
        "kubectl",
    ),
    "kubectl exec deployment/celery-beat -- celery celeryops-probe": (
        "tests/integration/celery/test_probe_command.py",
        "celeryops-probe",
    ),
    "ansible-playbook site.yml --tags worker,verify": (
        "tests/integration/awx/test_jobs_on_platform.py",
        "Platform scale",
    ),
    "ansible-playbook examples/quotes/workers.yml": (
        "tests/integration/celery/quotes_place.py",
        "examples/quotes/workers.yml",
    ),
    "ansible-playbook -i INVENTORY site.yml --check --diff": ("molecule/default/molecule.yml", "- check"),
    "ansible-playbook -i inventories/k3s_single playbooks/cluster.yml": ("molecule/k3s/converge.yml", "site.yml"),
    "ansible-playbook -i inventories/k3s_single site.yml": ("molecule/k3s/converge.yml", "site.yml"),
    "ansible-playbook -i inventories/k3s_ha": ("molecule/k3s_ha/converge.yml", "yml"),
    "ansible-playbook -i INVENTORY playbooks/k3s_upgrade.yml": ("molecule/k3s/side_effect.yml", "k3s_upgrade.yml"),
    "ansible-playbook -i INVENTORY playbooks/k3s_snapshot.yml": ("molecule/k3s_ha/snapshot.yml", "k3s_snapshot.yml"),
    "ansible-playbook -i INVENTORY playbooks/k3s_restore.yml": ("molecule/k3s_ha/snapshot.yml", "k3s_restore.yml"),
    "ansible-playbook -i INVENTORY playbooks/k3s_uninstall.yml": (
        "molecule/k3s_ha/members.yml",
        "k3s_uninstall.yml",
    ),
    "ANSIBLE_CALLBACK_PLUGINS=tests/helpers/callback": ("molecule/default/converge.yml", "site.yml"),
}
# What takes a site that the tests do not reach.
NOT_RUN = {
    "ansible-galaxy collection install -r awx/requirements.yml": "Galaxy",
    "ansible-galaxy collection publish": "Galaxy, and an account there",
}


def commands() -> Iterator[tuple[str, str]]:
    """Page and command of every line in a block that holds commands; output and comments are none."""
    for page in PAGES:
        for line in _lines_of_blocks(page, SHELLS):
            prompted = line.startswith("$ ")
            command = re.sub(r"\s+#.*", "", line.removeprefix("$ ")).strip()
            if command and (prompted or re.match(r"(make|ansible|antsibull|kubectl)\b", command)):
                yield page.name, command


def _lines_of_blocks(page: Path, languages: tuple[str, ...]) -> Iterator[str]:
    """The lines of a page's blocks in these languages, unindented."""
    inside, indent = False, -1
    for line in page.read_text(encoding="utf-8").splitlines():
        if page.suffix == ".md":
            if line.startswith("```"):
                inside = not inside and line[3:].strip() in languages
                continue
        elif found := re.match(r"(\s*)\.\. code-block:: (\w+)", line):
            inside, indent = found[2] in languages, len(found[1])
            continue
        elif line.strip() and len(line) - len(line.lstrip()) <= indent:
            inside = False
        if inside and line.strip():
            yield line.strip()


COMMANDS = sorted(set(commands()))


def entry(command: str) -> str | None:
    """The longest beginning that is listed."""
    return max((one for one in (*RUN, *NOT_RUN) if command.startswith(one)), key=len, default=None)


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 20


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda one: str(one)[:60])
def test_a_command_is_run_by_a_test_or_listed(page: str, command: str) -> None:
    listed = entry(command)
    assert listed, f"{page}: name the test that runs it in RUN, or list it in NOT_RUN: {command}"
    if listed in RUN:
        file, words = RUN[listed]
        assert words in (ROOT / file).read_text(encoding="utf-8"), f"{file} does not run {command}"


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda one: str(one)[:60])
def test_targets_playbooks_inventories_and_files_of_a_command_are_there(page: str, command: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    if target := re.match(r"(?:[A-Z_]+=\S+ )*make (\w+)", command):
        assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE), f"{page}: {command}"
    for name in re.findall(r"(?:^|[\s=@])((?:playbooks|inventories|molecule|awx)/[\w./-]+|site\.yml)", command):
        assert (ROOT / name).exists(), f"{page}: {command}"


def test_variables_in_examples_are_those_of_a_role() -> None:
    """Those that begin like a role; a playbook's own and the platform's are no role's."""
    roles = [path.name for path in (ROOT / "roles").iterdir() if path.is_dir()]
    known: set[str] = set()
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            known |= set(entry.get("options") or {})
    set_here = re.compile(rf"(?<![.\w])((?:{'|'.join(roles)})_\w+)[:=]")
    found = {
        (page.name, name)
        for page in PAGES
        for line in _lines_of_blocks(page, ("yaml", *SHELLS))
        for name in set_here.findall(line)
    }
    assert len(found) >= 40
    assert {(page, name) for page, name in found if name not in known} == set()


def test_the_lists_name_no_command_that_is_gone() -> None:
    assert {entry(command) for _page, command in COMMANDS} == {*RUN, *NOT_RUN}


def test_what_takes_the_net_is_counted() -> None:
    """The count stands here so that a further one is seen in a review."""
    counted = [command for _page, command in COMMANDS if entry(command) in NOT_RUN]
    assert len(counted) == 2


def test_every_page_is_in_the_contents() -> None:
    sections = yaml.safe_load((ROOT / "docs/docsite/extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    named = [page for section in sections for page in section["toctree"]]
    assert sorted(named) == sorted(path.stem for path in (ROOT / "docs/docsite/rst").glob("*.rst"))


def test_every_feature_of_the_comparison_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs/docsite/rst/comparison.rst").read_text(encoding="utf-8")
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    named = set(re.findall(r"``(test_\w+)``", text))
    assert named
    assert named - tests == set()
    scenarios = set(re.findall(r"``molecule/(\w+)``", text))
    assert all((ROOT / "molecule" / name / "molecule.yml").is_file() for name in scenarios)


def test_the_table_of_scenarios_has_them_all() -> None:
    text = (ROOT / "docs/docsite/rst/publishing.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"^``(\w+)``  ", text.partition("Molecule\n")[2], re.MULTILINE))
    assert listed == {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}


def test_a_public_forge_and_our_own_run_call_the_same_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = {found[1] for run in runs if (found := re.match(r"make (\w+)", run))}
    targets |= set(workflow["jobs"]["rest"]["strategy"]["matrix"]["target"])
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    ours = re.search(r"make (\w+)", (ROOT / ".ci/run").read_text(encoding="utf-8").partition("exec")[2])
    assert ours
    assert ours[1] in targets
