# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd as k3s runs it: its configuration, registries.yaml as hosts files, and images from agent/images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from .processes import Children, Fatal, log, run, wait_until
from .release import Release

__all__ = ["SOCKET", "Containerd", "hosts_files"]

SOCKET = "/run/k3s/containerd/containerd.sock"
# What docs.k3s.io/installation/airgap and /add-ons/import-images name.
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst")
_TOP = {"mirrors", "configs"}
_MIRROR = {"endpoint", "rewrite"}
_CONFIG = {"auth", "tls"}
_AUTH = {"username", "password", "token", "auth"}
_TLS = {"ca_file", "cert_file", "key_file", "insecure_skip_verify"}


def hosts_files(registries: Any, *, fallback: bool = True) -> dict[str, str]:
    """registries.yaml as containerd's hosts.toml by registry. Fatal for a key that k3s does not document."""
    content = registries or {}
    _only("registries.yaml", content, _TOP)
    mirrors: Mapping[str, Any] = content.get("mirrors") or {}
    configs: Mapping[str, Any] = content.get("configs") or {}
    for name, config in configs.items():
        _only(f"configs.{name}", config or {}, _CONFIG)
        _only(f"configs.{name}.auth", (config or {}).get("auth") or {}, _AUTH)
        _only(f"configs.{name}.tls", (config or {}).get("tls") or {}, _TLS)
    files = {}
    for name in [*mirrors, *(each for each in configs if each not in mirrors and each != "*")]:
        mirror = mirrors.get(name) or {}
        _only(f"mirrors.{name}", mirror, _MIRROR)
        folder = "_default" if name == "*" else name
        endpoints = list(mirror.get("endpoint") or [])
        # What is tried last: the registry itself, or, where that is not wanted, a mirror.
        last = _default(name) if fallback or not endpoints else endpoints[-1]
        lines = [] if name == "*" else [f"server = {json.dumps(last)}"]
        own = [_default(name)] if name in configs and name != "*" else []
        for endpoint in [*endpoints, *own]:
            url = endpoint if "://" in endpoint else f"https://{endpoint}"
            lines += _host(url, configs, mirror.get("rewrite") or {})
        files[folder] = "\n".join(lines) + "\n"
    return files


class Containerd:
    """One node's containerd."""

    def __init__(self, data: Path, release: Release, programs: Path, pause: str) -> None:
        self._agent, self._release, self._programs = data / "agent", release, programs
        self.pause = pause or release.images["pause"]["reference"]

    def configure(self, registries: Path, *, fallback: bool) -> None:
        """Write config.toml and the hosts files anew."""
        etc = self._agent / "etc/containerd"
        etc.mkdir(parents=True, exist_ok=True)
        hosts = etc / "certs.d"
        shutil.rmtree(hosts, ignore_errors=True)
        if registries.exists():
            for name, text in hosts_files(yaml.safe_load(registries.read_text()), fallback=fallback).items():
                (hosts / name).mkdir(parents=True)
                (hosts / name / "hosts.toml").write_text(text)
        (etc / "config.toml").write_text(self._config())

    def start(self, children: Children) -> None:
        """Start it and wait for its socket."""
        log_file = self._agent / "containerd/containerd.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        config = str(self._agent / "etc/containerd/config.toml")
        children.start("containerd", "--config", config, output=log_file)
        wait_until(children, self._answers, "containerd", 60)

    def import_images(self) -> None:
        """Import what agent/images holds, then stand in for the registry where no bundle brought a packaged image."""
        folder = self._agent / "images"
        known = self._agent / "containerd/standin-imported.json"
        done = json.loads(known.read_text()) if known.exists() else {}
        for archive in sorted(folder.glob("*")) if folder.is_dir() else []:
            mark = f"{archive.stat().st_size} {archive.stat().st_mtime_ns}"
            if archive.name.endswith(_ARCHIVES) and done.get(archive.name) != mark:
                log("info", f"Importing images from {archive}")
                self._ctr("images", "import", "--all-platforms", str(archive))
                done[archive.name] = mark
        known.write_text(json.dumps(done))
        there = self._ctr("images", "list", "--quiet").split()
        for name, image in self._release.images.items():
            if image["reference"] not in there:
                log("info", f"Pulling {name} {image['reference']} (stand-in for a registry: {image['archive']})")
                self._ctr("images", "import", "--all-platforms", image["archive"])

    def _ctr(self, *arguments: str) -> str:
        return run([str(self._programs / "ctr"), "--address", SOCKET, "--namespace", "k8s.io", *arguments])

    def _answers(self) -> bool:
        try:
            self._ctr("version")
        except Fatal:
            return False
        return True

    def _config(self) -> str:
        # Without CAP_SYS_RESOURCE nothing may be made less killable than it is.
        restricted = not _may_lower_score()
        return f"""version = 3
root = '{self._agent}/containerd'
state = '/run/k3s/containerd'

[grpc]
  address = '{SOCKET}'

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{self.pause}'

[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '{self._agent}/etc/containerd/certs.d'

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = {str(restricted).lower()}
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/usr/lib/cni', '/opt/cni/bin']
    conf_dir = '{self._agent}/etc/cni/net.d'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    runtime_path = '{self._programs}/containerd-shim-runc-v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = true
"""


def _may_lower_score() -> bool:
    score = Path("/proc/self/oom_score_adj")
    before = score.read_text()
    try:
        score.write_text("-999")
        score.write_text(before)
    except OSError:
        return False
    return True


def _default(name: str) -> str:
    return "https://registry-1.docker.io" if name == "docker.io" else f"https://{name}"


def _host(url: str, configs: Mapping[str, Any], rewrites: Mapping[str, str]) -> list[str]:
    config = configs.get(urlsplit(url).netloc) or configs.get("*") or {}
    path = urlsplit(url).path.rstrip("/")
    lines = [f"[host.{json.dumps(url)}]", '  capabilities = ["pull", "resolve"]']
    if path:
        lines.append("  override_path = true")
    tls = config.get("tls") or {}
    if tls.get("insecure_skip_verify"):
        lines.append("  skip_verify = true")
    if tls.get("ca_file"):
        lines.append(f"  ca = {json.dumps(tls['ca_file'])}")
    if tls.get("cert_file"):
        lines.append(f"  client = [[{json.dumps(tls['cert_file'])}, {json.dumps(tls.get('key_file', ''))}]]")
    if rewrites:
        lines.append(f"  # upstream containerd has no rewrites; k3s's own would apply {json.dumps(dict(rewrites))}")
    return lines


def _only(where: str, content: Any, allowed: set[str]) -> None:
    if not isinstance(content, dict):
        raise Fatal(f"{where}: expected a mapping, found {type(content).__name__}")
    if unknown := sorted(map(str, set(content) - allowed)):
        raise Fatal(f"{where}: unknown key {', '.join(unknown)}; k3s documents {', '.join(sorted(allowed))}")
