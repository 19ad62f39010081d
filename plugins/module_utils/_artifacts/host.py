# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects how this host reaches the registries into a folder that builds mount read-only."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts import hostsettings

__all__ = ["Host"]

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
_BUNDLE_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")


def _run(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout  # pylint: disable=ansible-bad-function
    except FileNotFoundError:
        return ""


class Host:
    """The settings of this host, written below ``folder`` when first asked for."""

    def __init__(self, folder: Path, environ: Mapping[str, str], python: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._environ = environ
        pip = hostsettings.pip_settings(_run(python, "-m", "pip", "config", "list"))
        self._pip = pip or hostsettings.pip_environment(environ)
        self._bundle = self._find_bundle()
        self._apt = _run("apt-config", "dump")
        self.apt_conf = self._write("mmdebstrap.conf", hostsettings.apt_conf(self._apt, certificates=self._bundle))
        self.volumes = self._make_mounts()

    def _find_bundle(self) -> str:
        named = [self._pip.get("cert", ""), *(self._environ.get(name, "") for name in _BUNDLE_VARIABLES)]
        return next((path for path in (*named, *_BUNDLES) if path and Path(path).is_file()), "")

    def _write(self, name: str, text: str) -> str:
        path = self._folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def _make_mounts(self) -> tuple[str, ...]:
        mount = self._folder / "mount"
        mount.mkdir(exist_ok=True)
        inside = ""
        if self._bundle:
            shutil.copyfile(self._bundle, mount / "ca.crt")
            inside = f"{hostsettings.MOUNT}/ca.crt"
        links: list[str] = []
        volumes = [f"{mount}:{hostsettings.MOUNT}:ro"]
        for number, link in enumerate(self._pip.get("find-links", "").split()):
            path = Path(link.removeprefix("file://"))
            if path.is_dir():
                there = f"{hostsettings.MOUNT}-links-{number}"
                volumes.append(f"{path}:{there}:ro")
                links.append(there)
            elif "://" in link:
                links.append(link)
        self._inside = inside
        self._write("mount/pip.conf", hostsettings.pip_conf(self._pip, certificates=inside, find_links=links))
        return tuple(volumes)

    def arguments(self, suite: str) -> dict[str, str]:
        """Build arguments through which apt and pip find their settings, for an image of a Debian suite."""
        sources = ""
        if self.debian_sources(suite):
            shutil.copyfile(self._folder / f"{suite}.list", self._folder / f"mount/{suite}.list")
            sources = f"{hostsettings.MOUNT}/{suite}.list"
        conf = hostsettings.apt_conf(self._apt, certificates=self._inside, sources=sources)
        self._write(f"mount/apt-{suite}.conf", conf)
        return {
            "APT_CONFIG": f"{hostsettings.MOUNT}/apt-{suite}.conf",
            "PIP_CONFIG_FILE": f"{hostsettings.MOUNT}/pip.conf",
            "DEBIAN_FRONTEND": "noninteractive",
        }

    def debian_sources(self, suite: str) -> str:
        """A file with this host's Debian mirror for ``suite``; empty when this host is no Debian."""
        if not suite:
            return ""
        try:
            release = platform.freedesktop_os_release()
        except OSError:
            return ""
        if release.get("ID") != "debian":
            return ""
        folder = Path("/etc/apt")
        paths = [folder / "sources.list", *(folder / "sources.list.d").glob("*")]
        files = {p.name: p.read_text(encoding="utf-8", errors="replace") for p in paths if p.is_file()}
        text = hostsettings.debian_sources(files, host_suite=release.get("VERSION_CODENAME", ""), suite=suite)
        return self._write(f"{suite}.list", text) if text else ""
