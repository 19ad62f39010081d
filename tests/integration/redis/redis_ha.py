# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis, Sentinels and a proxy on loopback, three of each but the last, started by the role's own scripts."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import redis
import yaml
from helpers.servers import wait_until
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis_servers import FILES, HOSTS, PASSWORD, ROLE, free_port

__all__ = ["HOSTS", "MASTER", "NAMES", "PASSWORD", "PROXY", "REDIS", "SENTINELS", "Platform", "platform"]

MASTER = "mymaster"
PROXY = "127.0.1.9"
# What a certificate is for: clients compare addresses, HAProxy compares any name as a text.
NAMES = tuple(f"{kind}:{host}" for host in (*HOSTS, PROXY) for kind in ("IP", "DNS"))


def rendered(name: str, **more: Any) -> str:
    """A template of the role with its defaults."""
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - no HTML
    environment.filters["regex_replace"] = lambda text, _pattern, _by: text.removesuffix(".")
    text = (ROLE / "templates" / name).read_text(encoding="utf-8")
    return environment.from_string(text).render({**defaults, **more})


@dataclass
class Platform:
    """Each server is a process of its own session, named `redis-0`, `sentinel-0`, `proxy`, with its log in a file."""

    folder: Path
    password: str = PASSWORD
    settings: dict[str, Any] = field(default_factory=dict)
    patience: int = 60
    # Folder with tls.crt, tls.key and ca.crt, where they speak TLS
    tls: Path | None = None
    port: int = field(default_factory=free_port)
    sentinel_port: int = field(default_factory=free_port)
    status_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        kind, number = name.rpartition("-")[::2] if name != "proxy" else ("proxy", "0")
        place = self.folder / name
        for part in ("data", "run"):
            (place / part).mkdir(parents=True, exist_ok=True)
        for script in FILES.iterdir():
            shutil.copy(script, place)
        settings = place / "settings.conf"
        if kind == "proxy":
            settings.write_text(self._proxy(), encoding="utf-8")
        else:
            text = rendered(f"{kind}.conf.j2", **self.settings)
            settings.write_text(text.replace("bind * -::*", f"bind {HOSTS[int(number)]}"), encoding="utf-8")
        return {
            "PATH": os.environ["PATH"],
            "REDISCLI_AUTH": self.password,
            "POD_NAME": f"{kind}-{number}",
            "POD_IP": HOSTS[int(number)],
            "REDIS_HOSTS": " ".join(HOSTS),
            "REDIS_PORT": str(self.port),
            "SENTINEL_HOSTS": " ".join(HOSTS),
            "SENTINEL_PORT": str(self.sentinel_port),
            "SENTINEL_MASTER": MASTER,
            "REDIS_DATA": str(place / "data"),
            "REDIS_RUN": str(place / "run"),
            "REDIS_SETTINGS": str(settings),
            "REDIS_MEMORY_LIMIT": str(256 * 1024 * 1024),
            "REDIS_MAXMEMORY_PERCENT": "50",
            "REDIS_PATIENCE": str(self.patience),
            "SENTINEL_DATA": str(place / "data"),
            "SENTINEL_RUN": str(place / "run"),
            "SENTINEL_SETTINGS": str(settings),
            "SENTINEL_DOWN_AFTER": "1500",
            "SENTINEL_FAILOVER_TIMEOUT": "3000",
            "PROXY_SETTINGS": str(settings),
            **({"REDIS_TLS": str(self.tls)} if self.tls else {}),
        }

    def _proxy(self) -> str:
        names = {
            "__redis_hosts": list(HOSTS),
            "__redis_sentinels": list(HOSTS),
            "__redis_port": self.port,
            "__redis_sentinel_port": self.sentinel_port,
            "__redis_proxy_bind": PROXY,
            "__redis_proxy_status_port": self.status_port,
            "__redis_enough": "[1-9]",
            "__redis_tls": self.tls is not None,
            "__redis_tls_path": str(self.tls),
        }
        return rendered("haproxy.cfg.j2", **names, **self.settings)

    def start(self, *names: str) -> None:
        for name in names:
            script = {"redis": "start.sh", "sentinel": "sentinel.sh", "proxy": "proxy.sh"}[
                name.split("-", maxsplit=1)[0]
            ]
            environment = self.environment(name)
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    ["/bin/sh", str(self.folder / name / script)],
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(30)
        # What a container takes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def lose_volume(self, name: str) -> None:
        for part in ("data", "run"):
            shutil.rmtree(self.folder / name / part)

    def run(self, script: str, name: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """A probe, as the kubelet runs it."""
        command = ["/bin/sh", str(self.folder / name / script)]
        environment = {**self.environment(name), **extra}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def probe(self) -> None:
        """What the kubelet does every few seconds on every Redis pod."""
        for name in self.processes:
            if name.startswith("redis-"):
                self.run("ready.sh", name)

    def client(self, number: int | None = None, *, sentinel: bool = False) -> Any:
        """Of a server, of a Sentinel, or through the proxy."""
        host = PROXY if number is None else HOSTS[number]
        port = self.sentinel_port if sentinel else self.port
        options: Any = {"socket_timeout": 5, "decode_responses": True, "retry": Retry(NoBackoff(), 0)}
        trust: Any = {"ssl": True, "ssl_ca_certs": str(self.tls / "ca.crt")} if self.tls else {}
        return redis.Redis(host, port, password=self.password, **options, **trust)

    def role(self, number: int) -> str:
        try:
            return str(self.client(number).execute_command("ROLE")[0])
        except redis.RedisError:
            return ""

    def uptime(self, number: int) -> int:
        try:
            return int(self.client(number).info("server")["uptime_in_seconds"])
        except redis.RedisError:
            return 0

    def master(self) -> int | None:
        masters = [number for number in range(3) if self.role(number) == "master"]
        return masters[0] if len(masters) == 1 else None

    def named(self, number: int = 0) -> str:
        """Whom a Sentinel calls the master; nothing when it knows none or does not answer."""
        try:
            said = self.client(number, sentinel=True).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        except redis.RedisError:
            return ""
        return str(said[0]) if said else ""

    def healthy(self) -> bool:
        """One master with two replicas in step, all promotable; the Sentinels agree; the proxy leads there."""
        master = self.master()
        if master is None:
            return False
        self.probe()
        with contextlib.suppress(redis.RedisError):
            info = self.client(master).info("replication")
            states = [self.client(number).info("replication") for number in range(3) if number != master]
            in_step = [
                (state.get("master_link_status"), state.get("slave_priority")) == ("up", 100) for state in states
            ]
            agreed = {self.named(number) for number in range(3)} == {HOSTS[master]}
            peers = [self.client(n, sentinel=True).execute_command("SENTINEL", "MASTER", MASTER) for n in range(3)]
            known = all(self._peers(peer) for peer in peers)
            through = "proxy" not in self.processes or self.client().info("server")["run_id"] == self.run_id(master)
            return info["connected_slaves"] == 2 and all(in_step) and agreed and known and through
        return False

    @staticmethod
    def _peers(said: Any) -> bool:
        facts = said if isinstance(said, dict) else dict(zip(said[::2], said[1::2], strict=True))
        return (int(facts["num-other-sentinels"]), int(facts["num-slaves"])) == (2, 2)

    def run_id(self, number: int) -> str:
        return str(self.client(number).info("server")["run_id"])

    def statistics(self) -> str:
        """The proxy's own account of its backends and servers, as comma-separated values."""
        with urllib.request.urlopen(f"http://{PROXY}:{self.status_port}/stats;csv", timeout=5) as answer:
            return str(answer.read().decode())

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.statistics().removeprefix("# ").splitlines()))

    def status(self, backend: str, server: str = "") -> str:
        return next(
            row["status"] for row in self.rows() if (row["pxname"], row["svname"]) == (backend, server or backend)
        )

    def count(self, backend: str) -> int:
        return next(int(row["act"]) for row in self.rows() if (row["pxname"], row["svname"]) == (backend, "BACKEND"))

    def wait_healthy(self) -> int:
        try:
            wait_until(self.healthy, "one master, two replicas, three Sentinels that agree")
        except BaseException:
            for name in sorted(self.processes):
                print(f"--- {name}\n" + "\n".join(self.log(name).splitlines()[-25:]), file=sys.stderr)
            raise
        master = self.master()
        assert master is not None
        return master

    def promoted(self, besides: int) -> int:
        """The pod, another than this one, that became the master."""

        def another() -> bool:
            return self.master() not in (None, besides)

        wait_until(another, "another master")
        master = self.master()
        assert master is not None
        return master


REDIS = ("redis-0", "redis-1", "redis-2")
SENTINELS = ("sentinel-0", "sentinel-1", "sentinel-2")


@contextlib.contextmanager
def platform(folder: Path, *, proxy: bool = True, **options: Any) -> Iterator[Platform]:
    servers = Platform(folder, **options)
    try:
        # In any order, as the kubelets may: the master is last, and waits for the Sentinels.
        servers.start(*reversed(REDIS), *SENTINELS, *(["proxy"] if proxy else []))
        servers.wait_healthy()
        yield servers
    finally:
        for name in list(servers.processes):
            servers.end(name, signal.SIGKILL)
