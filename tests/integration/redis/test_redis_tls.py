# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS between clients, proxy, servers and Sentinels, and the renewal of a certificate under them.

Workers on such a broker are in test_redis_worker.py.
"""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from helpers.certificates import authority, certify
from helpers.servers import wait_until
from redis_ha import HOSTS, NAMES, PROXY, REDIS, SENTINELS, Platform, platform

from ansible_collections.celeryops.platform.plugins.module_utils._redis import password, probe
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import RedisError, read_replication

MARK = "mark-of-a-test"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("redis")
    certify(authority(folder / "first"), NAMES)
    # As in a pod, where the kubelet replaces a link.
    (folder / "tls").symlink_to("first")
    with platform(folder, tls=folder / "tls") as servers:
        yield servers


@pytest.fixture
def ha(started: Platform) -> Platform:
    started.wait_healthy()
    return started


def options(ha: Platform) -> tuple[str, ...]:
    return ("--tls", "--cacert", f"{ha.tls}/ca.crt")


def replace(ha: Platform, name: str) -> None:
    link = ha.folder / "new-link"
    link.symlink_to(name)
    link.replace(ha.folder / "tls")


def certificate(host: str, port: int) -> str:
    return ssl.get_server_certificate((host, port), timeout=5)


@pytest.mark.slow
def test_nobody_speaks_without_it(ha: Platform) -> None:
    for host, port in ((PROXY, ha.port), *((host, port) for host in HOSTS for port in (ha.port, ha.sentinel_port))):
        with pytest.raises(redis.ConnectionError):
            redis.Redis(host, port, password=ha.password, socket_timeout=5).ping()


@pytest.mark.slow
def test_nobody_is_trusted_whom_the_authority_does_not_know(ha: Platform, tmp_path: Path) -> None:
    other = authority(tmp_path) / "ca.crt"
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        redis.Redis(PROXY, ha.port, ssl=True, ssl_ca_certs=str(other), socket_timeout=5).ping()
    with pytest.raises(RedisError, match="CERTIFICATE_VERIFY_FAILED"):
        read_replication(HOSTS[0], ha.port, ha.password, timeout=5, ca=other.read_text(encoding="ascii"))


def test_what_the_modules_ask(ha: Platform) -> None:
    master = ha.wait_healthy()
    ca = Path(f"{ha.tls}/ca.crt").read_text(encoding="ascii")
    assert read_replication(HOSTS[master], ha.port, ha.password, timeout=5, ca=ca).connected_replicas == 2
    target = probe.Target(PROXY, ha.port, 0, 2, options(ha))
    plain = probe.Target(PROXY, ha.port)
    text = probe.script([target, plain], ha.password, mark=MARK, seconds=3, write=True)
    done = subprocess.run(["/bin/sh", "-s"], input=text, capture_output=True, text=True, check=True, timeout=60)
    encrypted, refused = probe.parse(done.stdout, 2, MARK)
    assert [(answer.role, answer.writable, answer.error) for answer in encrypted] == [("master", True, "")] * 2
    assert [answer.role for answer in refused] == [""]
    asked = password.script(ha.password, port=ha.port, seconds=3, add=False, options=("--tls", "--insecure"))
    asked = asked.replace("redis-cli ", f"redis-cli -h {HOSTS[0]} ")
    environment = ha.environment("redis-0")
    done = subprocess.run(["/bin/sh", "-s"], input=asked, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "accepted"


@pytest.mark.slow
def test_a_renewed_certificate_is_served_without_a_restart(ha: Platform) -> None:
    first = ha.folder / "first"
    before = {pid.pid for name, pid in ha.processes.items() if name in REDIS}
    (ha.folder / "second").mkdir()
    certify(ha.folder / "second", NAMES, signer=first)
    # What comes before another authority signs.
    both = (first / "ca.crt").read_text("ascii") + (authority(ha.folder / "next") / "ca.crt").read_text("ascii")
    (ha.folder / "second" / "ca.crt").write_text(both, encoding="ascii")
    replace(ha, "second")
    ha.probe()
    renewed = (ha.folder / "second" / "tls.crt").read_text("ascii").strip()
    for host in HOSTS:
        assert certificate(host, ha.port).strip() == renewed
    assert before == {pid.pid for name, pid in ha.processes.items() if name in REDIS}
    # Sentinel and HAProxy end, and the kubelet would start them again.
    for name in (*SENTINELS, "proxy"):
        wait_until(lambda name=name: ha.processes[name].poll() is not None, f"the end of {name}")  # type: ignore[misc]
        ha.start(name)
    assert "the certificate was renewed" in ha.log("sentinel-2")
    ha.wait_healthy()
    for host in HOSTS:
        assert certificate(host, ha.sentinel_port).strip() == renewed


@pytest.mark.slow
def test_a_proxy_leads_to_no_server_whose_certificate_is_for_another_name(ha: Platform) -> None:
    master, used = ha.wait_healthy(), (ha.folder / "tls").readlink().name
    (ha.folder / "nameless").mkdir()
    certify(ha.folder / "nameless", [name for name in NAMES if name.startswith("IP:")], signer=ha.folder / "first")
    (ha.folder / "nameless" / "ca.crt").write_bytes((ha.folder / used / "ca.crt").read_bytes())
    # They would end for the certificate's sake, and again when it is back.
    for name in SENTINELS:
        ha.end(name)
    replace(ha, "nameless")
    ha.run("ready.sh", f"redis-{master}")
    try:
        wait_until(lambda: ha.status(f"redis-{master}") == "DOWN", "a proxy that has seen it")
        with pytest.raises(redis.ConnectionError):
            ha.client().ping()
    finally:
        replace(ha, used)
        ha.probe()
        ha.start(*SENTINELS)
    ha.wait_healthy()


def test_names_kept_without_tls_are_known_with_it(ha: Platform) -> None:
    master = ha.wait_healthy()
    for name in SENTINELS:
        ha.end(name)
        (ha.folder / name / "run" / "sentinel.conf").unlink()
        known = ha.folder / name / "data" / "known"
        text = known.read_text(encoding="ascii")
        assert f" {HOSTS[master]} {ha.port} " in text
        for host in HOSTS:
            text = text.replace(f" {host} ", f" {host}. ")
        known.write_text(text, encoding="ascii")
    ha.start(*SENTINELS)
    assert ha.wait_healthy() == master
    assert ha.named() == HOSTS[master]


def test_an_empty_master_does_not_take_a_peer_that_it_cannot_trust_for_absent(ha: Platform, tmp_path: Path) -> None:
    certify(authority(tmp_path / "tls"), NAMES)
    (tmp_path / "data").mkdir()
    elsewhere = {"SENTINEL_HOSTS": "", "REDIS_TLS": str(tmp_path / "tls"), "REDIS_DATA": str(tmp_path / "data")}
    refused = ha.run("start.sh", "redis-0", **elsewhere, REDIS_RUN=str(tmp_path))
    assert refused.returncode == 1
    assert "did not say whether it holds data" in refused.stderr
    assert "certificate verify failed" in refused.stderr
