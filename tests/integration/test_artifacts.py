# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small Go module and a small image, really built by playbooks into a cache of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
DEFAULTS = ROOT / "roles/artifacts/defaults/main.yml"

pytestmark = [
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
    pytest.mark.skipif(shutil.which("go") is None, reason="no Go on PATH"),
]

MAIN = 'package main\n\nfunc main() { println("hello") }\n'


def go_wheel() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    wheel: dict[str, Any] = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["artifacts_go_wheel"]
    return wheel


@dataclass
class Site:
    """Inputs, a cache, and a playbook that builds an image with a command in it."""

    folder: Path
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def prepare(self) -> None:
        hello = self.folder / "hello"
        hello.mkdir(parents=True)
        (hello / "go.mod").write_text(
            "module example.org/hello\n\ngo 1.26.0\n\ntool example.org/hello\n", encoding="utf-8"
        )
        (hello / "main.go").write_text(MAIN, encoding="utf-8")
        image = self.folder / "image"
        image.mkdir()
        (image / "Containerfile").write_text(
            'FROM scratch\nCOPY bin/hello /hello\nENTRYPOINT ["/hello"]\n', encoding="utf-8"
        )
        catalogue = [
            {"name": "command", "kind": "go", "source": str(hello), "binaries": ["hello"]},
            {
                "name": "hello",
                "kind": "image",
                "source": str(image),
                "binaries": ["command/hello"],
            },
        ]
        options = {
            "names": ["hello"],
            "catalogue": catalogue,
            "cache_dir": str(self.cache),
            "python": sys.executable,
            "repository": "localhost/test",
            "go_wheel": go_wheel(),
        }
        tasks = [
            {
                "celeryops.platform.artifacts": {**options, "state": "{{ wanted | default('present') }}"},
                "register": "built",
                "ignore_errors": True,
            },
            {"ansible.builtin.copy": {"content": "{{ built | to_json }}", "dest": "{{ result }}"}, "check_mode": False},
        ]
        play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
        (self.folder / "play.yml").write_text(json.dumps(play), encoding="utf-8")

    def argv(self, result: Path, *arguments: str) -> list[str]:
        variables = {"result": str(result), "ansible_python_interpreter": sys.executable}
        playbook = [str(ANSIBLE_PLAYBOOK), "-i", "localhost,", str(self.folder / "play.yml")]
        return [*playbook, "-e", json.dumps(variables), *arguments]

    def start(self, number: int = 0, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
        result = self.folder / f"result-{number}.json"
        process = subprocess.Popen(
            self.argv(result, *arguments),
            cwd=ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return process, result

    def run(self, *arguments: str) -> tuple[dict[str, Any], str]:
        """The task's result and all that was shown."""
        process, result = self.start(0, *arguments)
        shown, _none = process.communicate()
        assert result.is_file(), shown
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        result.unlink()
        return found, shown

    def finished(self) -> list[str]:
        """Folders in the cache that hold a whole artifact."""
        return sorted(p.parent.parent.name for p in (self.cache / "artifacts").glob("*/*/artifact.json"))


def actions(result: Mapping[str, Any]) -> dict[str, str]:
    return {row["name"]: row["action"] for row in result["artifacts"]}


@pytest.fixture(scope="session")
def go_caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("go")


@pytest.fixture
def cold_site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def site(cold_site: Site, go_caches: Path) -> Site:
    """Go's own caches are shared by the tests: Go's runtime is compiled once."""
    cold_site.cache.mkdir()
    (cold_site.cache / "go").symlink_to(go_caches)
    return cold_site


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kills a process and all its descendants: Ansible's workers have sessions of their own."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(fields[1])

    def descends(pid: int) -> bool:
        return pid == process.pid or (pid in parents and descends(parents[pid]))

    for pid in [pid for pid in parents if descends(pid)]:
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, "the build ended before it was interrupted"
        time.sleep(0.02)


@pytest.mark.slow
def test_check_build_check_build(site: Site) -> None:
    checked, _shown = site.run("--check")
    assert checked["changed"] is True
    assert actions(checked) == {"command": "built", "hello": "built"}
    assert not (site.cache / "artifacts").exists()

    built, shown = site.run()
    assert built["changed"] is True
    assert actions(built) == {"command": "built", "hello": "built"}
    assert "[1/2] command: built in" in shown
    assert "[2/2] hello: built in" in shown
    assert [row["key"] for row in built["artifacts"]] == [row["key"] for row in checked["artifacts"]]

    again, _shown = site.run("--check")
    assert again["changed"] is False
    cached, shown = site.run()
    assert cached["changed"] is False
    assert actions(cached) == {"command": "cached", "hello": "cached"}
    assert "[1/" not in shown

    command, image = built["artifacts"]
    said = subprocess.run([command["binaries"]["hello"]], capture_output=True, text=True, check=True)
    assert said.stderr == "hello\n"
    assert image["reference"] == f"localhost/test/hello:{image['key'][:12]}"
    with tarfile.open(image["path"]) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert manifest[0]["RepoTags"] == [image["reference"]]

    removed, _shown = site.run("-e", "wanted=absent")
    assert (removed["changed"], actions(removed)) == (True, {"hello": "removed"})
    removed, _shown = site.run("-e", "wanted=absent")
    assert (removed["changed"], actions(removed)) == (False, {"hello": "absent"})
    rebuilt, _shown = site.run()
    assert actions(rebuilt) == {"command": "cached", "hello": "built"}


@pytest.mark.slow
def test_a_failed_build_says_why_and_keeps_what_was_finished(site: Site) -> None:
    containerfile = site.folder / "image/Containerfile"
    good = containerfile.read_text(encoding="utf-8")
    containerfile.write_text(good.replace("bin/hello", "bin/nobody"), encoding="utf-8")
    failed, _shown = site.run()
    assert failed["failed"] is True
    assert failed["changed"] is True
    assert actions(failed) == {"command": "built", "hello": "missing"}
    assert "bin/nobody" in failed["msg"]
    assert failed["log"] == str(site.cache / "artifacts/logs/hello.log")
    assert failed["log"] in failed["msg"]
    assert site.finished() == ["command"]

    containerfile.write_text(good, encoding="utf-8")
    mended, _shown = site.run()
    assert actions(mended) == {"command": "cached", "hello": "built"}


def test_a_module_proxy_that_does_not_answer_is_named(site: Site) -> None:
    (site.folder / "hello/go.mod").write_text(
        "module example.org/hello\n\ngo 1.26.0\n\ntool example.org/hello\n\nrequire example.org/away v1.0.0\n",
        encoding="utf-8",
    )
    (site.folder / "hello/main.go").write_text(
        'package main\n\nimport _ "example.org/away"\n\nfunc main() {}\n', encoding="utf-8"
    )
    (site.folder / "hello/go.sum").write_text(
        "example.org/away v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "example.org/away v1.0.0/go.mod h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        encoding="utf-8",
    )
    site.environ |= {"GOPROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    failed, _shown = site.run()
    assert "the Go module proxy could not be reached" in failed["msg"]
    assert site.finished() == []


@pytest.mark.slow
def test_an_interrupted_build_leaves_nothing_half_and_is_completed(cold_site: Site) -> None:
    site = cold_site
    process, _result = site.start()
    until((site.cache / "artifacts/.scratch/command/src").is_dir, process)
    kill_all(process)
    assert site.finished() == []

    completed, _shown = site.run()
    assert actions(completed) == {"command": "built", "hello": "built"}
    assert not (site.cache / "artifacts/.scratch").exists()


@pytest.mark.slow
def test_of_two_runs_at_once_each_artifact_is_built_by_one(site: Site) -> None:
    started = [site.start(number) for number in (1, 2)]
    shown = [process.communicate()[0] for process, _result in started]
    results = [json.loads(result.read_text(encoding="utf-8")) for _process, result in started]
    assert [process.returncode for process, _result in started] == [0, 0], shown
    for name in ("command", "hello"):
        assert sorted(actions(result)[name] for result in results) == ["built", "cached"]
    assert site.finished() == ["command", "hello"]


@pytest.mark.slow
def test_without_a_go_the_wheel_compiles(cold_site: Site) -> None:
    site = cold_site
    folders = site.environ["PATH"].split(os.pathsep)
    site.environ["PATH"] = os.pathsep.join(p for p in folders if not (Path(p) / "go").exists())
    built, _shown = site.run()
    assert actions(built) == {"command": "built", "hello": "built"}, built
    version = go_wheel()["version"]
    command = built["artifacts"][0]["binaries"]["hello"]
    said = subprocess.run(["go", "version", command], capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith(f"go{version}")
