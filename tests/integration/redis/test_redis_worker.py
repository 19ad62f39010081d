# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real worker goes on after its master was replaced: the same process, without a restart, whatever the password."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from helpers.certificates import authority, certify
from helpers.servers import DEADLINE, wait_until
from redis_ha import HOSTS, NAMES, PASSWORD, PROXY, Platform, platform

from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import read_sentinel
from ansible_collections.celeryops.platform.plugins.module_utils._redis.views import Proxy, Sentinel

HERE = Path(__file__).resolve().parent
WAIT_FOR = HERE.parents[2] / "roles/celery_pod/files/wait_for.py"


@pytest.fixture(scope="module", params=["quotes", "lines", "tls"])
def ha(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("redis")
    password = "line\nbreak\t%00 ${HOME} 'x\" \\n" if request.param == "lines" else PASSWORD
    tls = certify(authority(folder / "tls"), NAMES) if request.param == "tls" else None
    with platform(folder, password=password, tls=tls) as servers:
        yield servers


def bare_url(ha: Platform, mode: str) -> str:
    """As redis_master writes it."""
    trust = f"?ssl_cert_reqs=required&ssl_ca_certs={ha.tls}/ca.crt" if ha.tls else ""
    if mode == "proxy":
        return f"redis{'s' if ha.tls else ''}://{PROXY}:{ha.port}/0{trust}"
    return ";".join(f"sentinel://{host}:{ha.sentinel_port}/0{trust}" for host in HOSTS)


@pytest.fixture(params=["proxy", "sentinel"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def environment(ha: Platform, mode: str) -> dict[str, str]:
    url = bare_url(ha, mode).replace("://", f"://:{quote(ha.password, safe='')}@")
    return {**os.environ, "SMALL_URL": url, "SMALL_PASSWORD": ha.password}


@pytest.fixture
def worker(ha: Platform, environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    ha.wait_healthy()
    flags = ["--without-gossip", "--without-mingle", "--concurrency=1", "--loglevel=info"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "small_app", "worker", *flags],
            cwd=HERE,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(DEADLINE)
    print((tmp_path / "worker.log").read_text(encoding="utf-8", errors="replace"))


def send(environment: dict[str, str], number: int) -> str:
    """One task from a producer of its own; nothing when the broker was not to be had."""
    text = f"from small_app import double; print(double.delay({number}).id)"
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def result(ha: Platform, task: str) -> int | None:
    with contextlib.suppress(redis.RedisError):
        found = ha.client().get(f"celery-task-meta-{task}")
        return int(json.loads(found)["result"]) if found else None
    return None


def runs(ha: Platform, environment: dict[str, str], number: int) -> None:
    tasks: list[str] = []

    def sent() -> bool:
        tasks.append(send(environment, number))
        return bool(tasks[-1])

    wait_until(sent, "a task that can be sent")
    wait_until(lambda: result(ha, tasks[-1]) == 2 * number, "its result")


@pytest.mark.slow
def test_the_first_task_after_a_promotion_needs_no_restart(
    ha: Platform, environment: dict[str, str], worker: subprocess.Popen[bytes]
) -> None:
    runs(ha, environment, 1)
    old = ha.wait_healthy()
    ha.end(f"redis-{old}", signal.SIGKILL)
    new = ha.promoted(old)
    runs(ha, environment, 2)
    assert worker.poll() is None
    ha.start(f"redis-{old}")
    assert ha.wait_healthy() == new
    runs(ha, environment, 3)
    assert worker.poll() is None


def wait_for(ha: Platform, url: str, timeout: float = 1) -> subprocess.CompletedProcess[str]:
    words = ["--url", "${URL}", "--user", "${NO_SUCH}", "--password", "${REDIS_PASSWORD}", "--master", "${NO_SUCH}"]
    return subprocess.run(
        [sys.executable, WAIT_FOR, f"--timeout={timeout}", "broker", *words],
        env={"PATH": os.environ["PATH"], "URL": url, "REDIS_PASSWORD": ha.password},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_init_container_waits_for_the_master_in_every_mode(ha: Platform, mode: str) -> None:
    master = ha.wait_healthy()
    done = wait_for(ha, bare_url(ha, mode))
    assert done.returncode == 0, done.stderr
    reached = PROXY if mode == "proxy" else HOSTS[master]
    assert f"{reached} is the master and takes writes, on 10 new connections" in done.stdout
    assert ("3 of 3 Sentinels agree" in done.stdout) is (mode == "sentinel")


@pytest.mark.slow
def test_an_init_container_waits_while_most_sentinels_are_silent(ha: Platform) -> None:
    ha.wait_healthy()
    for number in (0, 1):
        ha.processes[f"sentinel-{number}"].send_signal(signal.SIGSTOP)
    try:
        done = wait_for(ha, bare_url(ha, "sentinel"), timeout=0.1)
    finally:
        for number in (0, 1):
            ha.processes[f"sentinel-{number}"].send_signal(signal.SIGCONT)
    assert done.returncode == 1
    assert "no master that most of 3 Sentinels name" in done.stderr


def test_what_the_views_read_is_what_sentinel_and_proxy_say(ha: Platform) -> None:
    master = ha.wait_healthy()
    ca = (ha.tls / "ca.crt").read_text(encoding="ascii") if ha.tls else ""
    facts = read_sentinel(HOSTS[1], ha.sentinel_port, ha.password, "mymaster", timeout=5, ca=ca)
    seen = Sentinel.of("redis-sentinel-1", True, facts)
    assert (seen.names, seen.flags, seen.replicas, seen.others) == (HOSTS[master], ("master",), 2, 2)
    assert read_sentinel(HOSTS[1], ha.sentinel_port, ha.password, "another", timeout=5, ca=ca) == {}
    proxy = Proxy.of("redis-proxy-x", True, ha.statistics(), 3)
    assert proxy.leads_to == f"redis-{master}"
    assert proxy.masters == (f"redis-{master}",)
    assert proxy.named == {f"redis-{number}": 3 if number == master else 0 for number in range(3)}
