# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Those who compete: how each is given the same objects, and which command applies them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from helpers.apiserver import ApiServer, find_binary
from helpers.modules import ROOT

__all__ = ["CONTENDERS", "Contender", "Place", "environment", "kubernetes_core"]

Json = dict[str, Any]
_HERE = Path(__file__).parent
# Objects that Ansible has read itself, as if a template had made them.
_READ = "{{ lookup('ansible.builtin.file', 'objects.yml') | from_yaml_all | list }}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one contender works: a folder of its own, a namespace of its own, and the server."""

    folder: Path
    namespace: str
    server: ApiServer

    def path(self, obj: Json) -> str:
        root = f"/apis/{obj['apiVersion']}" if "/" in obj["apiVersion"] else f"/api/{obj['apiVersion']}"
        kind = obj["kind"].lower()
        plural = "networkpolicies" if kind == "networkpolicy" else f"{kind}s"
        return f"{root}/namespaces/{self.namespace}/{plural}/{obj['metadata']['name']}"


@dataclass(frozen=True, slots=True)
class Contender:
    """`write` puts objects into the place as the contender wants them, `command` applies them.

    It takes part up to the size `largest`, and in the first `repetitions` only: a loop takes minutes. One that
    `applies` nothing shows what starting takes, beside those that find nothing to do.
    """

    name: str
    command: Callable[[Place], list[str]]
    write: Callable[[Place, list[Json]], None]
    largest: int | None = None
    repetitions: int | None = None
    applies: bool = True

    def takes_part(self, size: int, number: int) -> bool:
        """In repetition `number`, which starts from 1."""
        return size <= (self.largest or size) and number <= (self.repetitions or number)


def _write_yaml(place: Place, objects: list[Json]) -> None:
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump_all(objects, Dumper=dumper, sort_keys=False)
    (place.folder / "objects.yml").write_text(text, encoding="utf-8")


def _write_requests(place: Place, objects: list[Json]) -> None:
    lines = (json.dumps([place.path(one), one]) for one in objects)
    (place.folder / "requests.jsonl").write_text("\n".join(lines), encoding="utf-8")


def _with_playbook(task: Json) -> Callable[[Place, list[Json]], None]:
    def write(place: Place, objects: list[Json]) -> None:
        _write_yaml(place, objects)
        ((module, options),) = ((key, value) for key, value in task.items() if "." in key)
        whole = {
            "name": "Apply",
            **task,
            module: {"kubeconfig": str(place.server.kubeconfig), "wait": False, **options},
        }
        play = {"name": "Benchmark", "hosts": "localhost", "gather_facts": False, "tasks": [whole]}
        (place.folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")

    return write


def _write_ping(place: Place, _objects: list[Json]) -> None:
    play = {"name": "Benchmark", "hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}
    (place.folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")


def _playbook(_place: Place) -> list[str]:
    return [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "play.yml"]


def _kubectl(place: Place) -> list[str]:
    options = [
        f"--kubeconfig={place.server.kubeconfig}",
        "--server-side",
        "--field-manager=kubectl",
        "--force-conflicts",
    ]
    return [str(find_binary("kubectl")), "apply", *options, "--filename=objects.yml"]


def _bare(place: Place) -> list[str]:
    return [sys.executable, str(_HERE / "bare.py"), str(place.server.kubeconfig), "requests.jsonl"]


def _k8s(**given: Any) -> Json:
    apply = {"apply": True, "server_side_apply": {"field_manager": "k8s", "force_conflicts": True}}
    return {"kubernetes.core.k8s": {**apply, **given}}


_LOOP = {**_k8s(definition="{{ item }}"), "loop": _READ, "loop_control": {"label": "{{ item.metadata.name }}"}}
CONTENDERS = [
    Contender("manifests", _playbook, _with_playbook({"celeryops.platform.manifests": {"src": ["objects.yml"]}})),
    Contender(
        "manifests, definitions", _playbook, _with_playbook({"celeryops.platform.manifests": {"definitions": _READ}})
    ),
    Contender("kubernetes.core.k8s, one task", _playbook, _with_playbook(_k8s(src="objects.yml"))),
    Contender("kubernetes.core.k8s, definition", _playbook, _with_playbook(_k8s(definition=_READ))),
    Contender("kubernetes.core.k8s, loop", _playbook, _with_playbook(_LOOP), largest=20, repetitions=1),
    Contender("kubectl apply --server-side", _kubectl, _write_yaml),
    Contender("bare PATCHes", _bare, _write_requests),
    Contender("a task that does nothing", _playbook, _write_ping, applies=False),
]


def kubernetes_core(cache: Path) -> Path:
    """A folder of collections with kubernetes.core, from the release that requirements.txt pins."""
    pinned = (_HERE / "requirements.txt").read_text(encoding="utf-8")
    version = pinned.partition("ansible==")[2].split()[0]
    target = cache / f"kubernetes-core-of-ansible-{version}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        # The release asks for a newer Python than Debian 12's; this collection in it does not.
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        pip.append("--ignore-requires-python")
        subprocess.run([*pip, "-r", str(_HERE / "requirements.txt"), "-d", folder], check=True)
        (wheel,) = Path(folder).glob("ansible-*.whl")
        unpacked = Path(folder, "unpacked")
        with zipfile.ZipFile(wheel) as archive:
            prefix = "ansible_collections/kubernetes/core/"
            archive.extractall(unpacked, [name for name in archive.namelist() if name.startswith(prefix)])
        unpacked.rename(target)
    return target


def environment(home: Path, collections: Path) -> dict[str, str]:
    """The same for all: nothing of the caller's settings, one interpreter, pipelining, a home for caches."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / 'collections'}{os.pathsep}{collections}",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
