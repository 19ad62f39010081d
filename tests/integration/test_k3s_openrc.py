# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role k3s under a real OpenRC: Debian's packages of it in a copy of this system that is gone with the test.

The copy is an overlay in name spaces of its own; nothing of it reaches this system, and its processes end with it. What
runs as k3s there is a few lines of shell: how the service is kept is asked here, not what k3s does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["openrc", "librc1", "libeinfo1"]
VERSION = "v1.33.4+k3s1"

K3S = f"""#!/bin/sh
case $1 in
--version) echo "k3s version {VERSION} (test)" ;;
*) echo "$1 $GREETING" >> /var/log/started; exec sleep 10000 ;;
esac
"""

# Mounts the copy and enters it. Everything is private to the new name space, and so undone at its end.
ENTER = """
set -eu
mount --make-rprivate /
mount -t tmpfs none "$1/layer"
mkdir "$1/layer/upper" "$1/layer/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/layer/upper,workdir=$1/layer/work" "$1/root"
mount -t proc none "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs none "$1/root/run"
mkdir "$1/root/inside"
mount --bind "$1/inside" "$1/root/inside"
exec chroot "$1/root" /bin/sh -eu /inside/steps
"""
# OpenRC takes itself to be the init system when this file says that it has booted.
STEPS = """
mkdir -p /run/openrc
touch /run/openrc/softlevel
dpkg --install --force-all --no-triggers /inside/*.deb > /inside/dpkg.log 2>&1
cd {root}
play() {{
  name=$1; shift
  {playbook} --inventory /inside/hosts.json /inside/play.json "$@" > /inside/$name.log 2>&1 ||
    {{ cat /inside/$name.log >&2; exit 1; }}
  cp /inside/facts.json /inside/$name.json
  cp /var/log/started /inside/$name.started 2> /dev/null || true
}}
play checked --check
play applied
rc-service k3s status > /inside/status 2>&1
cat /etc/runlevels/default/k3s /etc/logrotate.d/k3s > /inside/files
play again
play changed --extra-vars '{{"k3s_server_config": {{"disable": ["traefik"]}}}}'
{playbook} --inventory /inside/hosts.json /inside/uninstall.json > /inside/uninstalled.log 2>&1
# Not below the containers of this machine, which are others' and go on changing.
find /etc /run /usr/local /var -path /var/lib/containers -prune -o -name '*k3s*' -newer /inside/hosts.json -print \\
  > /inside/left
pgrep --count supervise-daemon > /inside/processes || true
"""


def task(name: str, **more: Any) -> dict[str, Any]:
    return {"ansible.builtin.import_role": {"name": "celeryops.platform.k3s", "tasks_from": name}, **more}


def plays() -> dict[str, Any]:
    report = {
        "service": "{{ __k3s_now.service }}",
        "manager": "{{ __k3s_now.manager }}",
        "changed": "{{ __k3s_now is changed }}",
    }
    facts = {"content": "{{ report | to_json }}", "dest": "/inside/facts.json"}
    tasks = [task(name) for name in ("survey", "install", "configure", "run")]
    # After a restart the service is looked at once more.
    tasks.append({"celeryops.platform.k3s_info": {"role": "server", "wait": False}, "register": "later"})
    tasks.append(
        {
            "ansible.builtin.copy": facts,
            "vars": {"report": {**report, "later": "{{ later }}"}},
            "check_mode": False,
            "changed_when": False,
        }
    )
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    variables = {
        "k3s_version": VERSION,
        "k3s_bundle": "/inside/bundle",
        "k3s_environment": {"GREETING": 'hello "you" $there'},
    }
    return {
        "hosts.json": {
            "all": {
                "hosts": {"localhost": local},
                "children": {"k3s_server": {"hosts": {"server-1": local}}},
                "vars": variables,
            }
        },
        "play.json": [{"name": "Keep k3s", "hosts": "k3s_server", "gather_facts": False, "tasks": tasks}],
        "uninstall.json": [
            {
                "name": "Take k3s off",
                "hosts": "k3s_server",
                "gather_facts": False,
                "tasks": [
                    *(
                        {"celeryops.platform.k3s_uninstall": {}, "check_mode": check, "register": name}
                        for name, check in (("first", True), ("second", False), ("third", True), ("fourth", False))
                    ),
                    {"ansible.builtin.copy": {"content": "{{ done | to_json }}", "dest": "/inside/uninstalled.json"}},
                ],
                "vars": {"done": "{{ [first, second, third, fourth] }}"},
            }
        ],
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what the copy was seen to do."""
    folder = tmp_path_factory.mktemp("openrc")
    inside = folder / "inside"
    for path in (folder / "layer", folder / "root", inside, inside / "bundle"):
        path.mkdir()
    # apt drops its rights for downloads; the folder is root's.
    download = ["apt-get", "--option", "APT::Sandbox::User=root", "download", *PACKAGES]
    subprocess.run(download, cwd=inside, check=True, capture_output=True)
    for name, content in plays().items():
        (inside / name).write_text(json.dumps(content), encoding="utf-8")
    (inside / "bundle/k3s").write_text(K3S, encoding="utf-8")
    listing = subprocess.run(["sha256sum", "k3s"], cwd=inside / "bundle", check=True, capture_output=True).stdout
    (inside / "bundle/sha256sum-amd64.txt").write_bytes(listing)
    (inside / "bundle/sha256sum-arm64.txt").write_bytes(listing)
    playbook = Path(sys.executable).with_name("ansible-playbook")
    (inside / "steps").write_text(STEPS.format(root=ROOT, playbook=playbook), encoding="utf-8")
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    done = subprocess.run(
        [*spaces, "/bin/sh", "-c", ENTER, "enter", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return inside


def facts(seen: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((seen / f"{name}.json").read_text(encoding="utf-8"))
    return found


def recap(seen: Path, name: str) -> int:
    """How many tasks a play changed something with."""
    text = (seen / f"{name}.log").read_text(encoding="utf-8")
    line = text[text.index("PLAY RECAP") :].splitlines()[1]
    return int(line.partition("changed=")[2].split()[0])


def test_check_mode_starts_nothing(seen: Path) -> None:
    assert recap(seen, "checked") > 0
    assert not (seen / "checked.started").exists()
    assert not facts(seen, "checked")["later"]["service"]["active"]


def test_the_service_is_kept_by_openrc(seen: Path) -> None:
    found = facts(seen, "applied")
    assert found["manager"] == "openrc"
    assert found["later"]["service"]["active"]
    assert found["later"]["service"]["enabled"]
    assert found["later"]["outdated"] == []
    assert "started" in (seen / "status").read_text()
    assert (seen / "applied.started").read_text() == 'server hello "you" $there\n'
    assert "supervisor=supervise-daemon" in (seen / "files").read_text()


def test_a_second_run_changes_nothing(seen: Path) -> None:
    assert recap(seen, "again") == 0
    assert (seen / "again.started").read_text() == (seen / "applied.started").read_text()


def test_a_changed_option_restarts_it(seen: Path) -> None:
    assert recap(seen, "changed") == 3
    assert len((seen / "changed.started").read_text().splitlines()) == 2
    assert facts(seen, "changed")["later"]["service"]["started"] > facts(seen, "again")["later"]["service"]["started"]


def test_it_is_taken_off_once(seen: Path) -> None:
    outcomes = json.loads((seen / "uninstalled.json").read_text(encoding="utf-8"))
    assert [outcome["changed"] for outcome in outcomes] == [True, True, False, False]
    assert "stop and disable k3s" in outcomes[0]["actions"]
    assert outcomes[1]["actions"] == outcomes[0]["actions"]
    assert outcomes[3]["actions"] == []


def test_nothing_is_left(seen: Path) -> None:
    assert (seen / "left").read_text() == ""
    assert (seen / "processes").read_text().strip() == "0"
