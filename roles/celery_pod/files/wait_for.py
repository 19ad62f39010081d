# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an init container waits for: a writable broker, a database with its tables, its turn.

Runs with the Python of any Celery image; the broker is asked with the standard library alone.
Reasons are printed when they change, so that the log of a pod that waits says why it waits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import socket
import ssl
import sys
import time
import urllib.parse
import uuid

__all__ = ("main",)

# A Service in front of master and replicas says "master" to one connection in three.
FRESH_CONNECTIONS = 10
ANSWER_WITHIN = 3.0
# Longer than a failover takes
ELSEWHERE_FOR = 30.0


class NotYet(Exception):
    """Why it is not time to start."""


class Elsewhere(NotYet):
    """What answers is another one than was asked for: the environment may be that of before, and a container has it
    from its start."""


class Redis:
    """Just enough of the protocol to authenticate, ask for the role and try a write."""

    def __init__(self, url, login):
        try:
            self.sock = socket.create_connection((url.hostname, url.port or 6379), timeout=ANSWER_WITHIN)
            query = urllib.parse.parse_qs(url.query)
            # Celery takes TLS of a sentinel:// URL from the same words.
            if url.scheme == "rediss" or (url.scheme == "sentinel" and "ssl_cert_reqs" in query):
                self.sock = _tls(query).wrap_socket(self.sock, server_hostname=url.hostname)
        except OSError as exc:
            raise NotYet(f"{url.hostname}:{url.port or 6379} cannot be reached: {exc}") from None
        self.stream = self.sock.makefile("rb")
        user, password = login
        password = urllib.parse.unquote(url.password) if url.password else password
        user = urllib.parse.unquote(url.username) if url.username else user
        if password:
            self.ask("AUTH", *([user] if user else []), password)

    def ask(self, *words):
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        try:
            self.sock.sendall(b"".join(parts))
            return self._reply()
        except OSError as exc:
            raise NotYet(f"no answer to {words[0]} within {ANSWER_WITHIN:.0f} s: {exc}") from None
        except ValueError as exc:
            raise NotYet(f"this is no Redis: {exc}") from None

    def _reply(self):
        line = self.stream.readline().rstrip(b"\r\n").decode()
        if not line:
            raise NotYet("the broker closed the connection")
        kind, rest = line[0], line[1:]
        if kind == "-":
            raise NotYet(f"the broker answered: {rest}")
        if kind == "$":
            return self.stream.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
        if kind == "*":
            return [self._reply() for _number in range(int(rest))]
        return rest

    def close(self):
        self.sock.close()


def _tls(query):
    context = ssl.create_default_context(cafile=query.get("ssl_ca_certs", [None])[0])
    if query.get("ssl_cert_reqs", ["required"])[0].lower() in ("none", "cert_none"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def check_broker(url, login):
    """Every new connection must reach a master that takes a write. The key is random and absent: a
    replica refuses to delete it, a master deletes nothing."""
    parsed = urllib.parse.urlsplit(url)
    if parsed.scheme not in ("redis", "rediss"):
        try:
            socket.create_connection((parsed.hostname, parsed.port or 5672), timeout=ANSWER_WITHIN).close()
        except OSError as exc:
            raise NotYet(f"{parsed.hostname} cannot be reached: {exc}") from None
        return f"{parsed.hostname} accepts connections"
    for number in range(1, FRESH_CONNECTIONS + 1):
        redis = Redis(parsed, login)
        try:
            role = redis.ask("ROLE")[0]
            if role != "master":
                raise Elsewhere(
                    f"connection {number} of {FRESH_CONNECTIONS} to {parsed.hostname} reached a {role}, "
                    "expected the master: the broker URL must name the master alone"
                )
            redis.ask("DEL", f"celeryops:writable:{uuid.uuid4()}")
        finally:
            redis.close()
    return f"{parsed.hostname} is the master and takes writes, on {FRESH_CONNECTIONS} new connections"


def ask_sentinel(url, login, name):
    """Host and port of the master that one Sentinel names, as the beginning of a URL."""
    try:
        sentinel = Redis(url, login)
    except NotYet as exc:
        # A Sentinel has a password of its own, or none.
        if "without any password" not in str(exc):
            raise
        sentinel = Redis(url._replace(netloc=url.netloc.rpartition("@")[2]), ("", ""))
    try:
        found = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
    finally:
        sentinel.close()
    if not found:
        raise NotYet(f"{url.hostname} knows no master named {name}")
    scheme, query = ("rediss", f"?{url.query}") if "ssl_cert_reqs=" in url.query else ("redis", "")
    return f"{scheme}://{found[0].rstrip('.')}:{found[1]}{query}"


def check_sentinels(urls, login, name):
    """Most Sentinels must name the same master, and that must be one."""
    named, reasons = {}, []
    for text in urls:
        url = urllib.parse.urlsplit(text)
        url = url if url.port else url._replace(netloc=f"{url.netloc}:26379")
        try:
            master = ask_sentinel(url, login, name)
            named.setdefault(master, []).append(url.hostname)
        except NotYet as exc:
            reasons.append(str(exc))
    for master, sentinels in named.items():
        if len(sentinels) > len(urls) // 2:
            return f"{len(sentinels)} of {len(urls)} Sentinels agree: {check_broker(master, login)}"
    opinions = [f"{', '.join(sentinels)} name {master}" for master, sentinels in sorted(named.items())]
    raise NotYet(f"no master that most of {len(urls)} Sentinels name: {'; '.join(opinions + reasons)}")


def check_brokers(urls, login, name):
    """Celery takes several URLs in a row for fail-over: the first that works is enough."""
    urls, reasons = urls.split(";"), []
    if all(url.startswith("sentinel:") for url in urls):
        return check_sentinels(urls, login, name)
    for url in urls:
        try:
            return check_broker(url, login)
        except NotYet as exc:
            reasons.append(exc)
    kind = Elsewhere if any(isinstance(one, Elsewhere) for one in reasons) else NotYet
    raise kind("; ".join(map(str, reasons)))


def check_database(settings, tables):
    """Log in as the application does and look for the tables. Without a driver in the image only
    that a PostgreSQL answers can be told, and the message says so."""
    where = f"{settings['host']}:{settings['port']}/{settings['database']}"
    try:
        import psycopg as driver  # noqa: PLC0415  one of the two, or none
    except ImportError:
        try:
            import psycopg2 as driver  # noqa: PLC0415
        except ImportError:
            return _check_postgresql_answers(settings, where)
    try:
        connection = driver.connect(
            host=settings["host"],
            port=settings["port"],
            dbname=settings["database"],
            user=settings["user"],
            password=settings["password"],
            connect_timeout=int(ANSWER_WITHIN),
        )
    except driver.Error as exc:
        raise NotYet(f"{where}: {str(exc).strip()}") from None
    try:
        with connection.cursor() as cursor:
            missing = []
            for table in tables:
                cursor.execute("SELECT to_regclass(%s)", (table,))
                if cursor.fetchone()[0] is None:
                    missing.append(table)
    except driver.Error as exc:
        raise NotYet(f"{where}: {str(exc).strip()}") from None
    finally:
        connection.close()
    if missing:
        raise NotYet(f"{where} answers, but has no table {', '.join(missing)}: migrations are pending")
    return f"{where} answers and has {', '.join(tables) or 'no tables asked for'}"


def _check_postgresql_answers(settings, where):
    try:
        with socket.create_connection((settings["host"], int(settings["port"])), timeout=ANSWER_WITHIN) as sock:
            # SSLRequest: every PostgreSQL and pooler answers it with one letter.
            sock.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
            if sock.recv(1) not in (b"S", b"N"):
                raise NotYet(f"{where} is no PostgreSQL")
    except OSError as exc:
        raise NotYet(f"{where} cannot be reached: {exc}") from None
    return f"{where} answers; its tables were not looked for: the image has neither psycopg nor psycopg2"


def until_true(what, check, timeout, pause=1.0, elsewhere=ELSEWHERE_FOR):
    """Ask again until it is so, or until the time is up: 0 or 1. That of what leads elsewhere is up sooner: started
    again, the container reads its configuration anew."""
    begun, reason, led = time.monotonic(), None, None
    while True:
        try:
            print(f"{what}: {check()}", flush=True)
            return 0
        except NotYet as exc:
            led = (led or time.monotonic()) if isinstance(exc, Elsewhere) else None
            if str(exc) != reason:
                reason = str(exc)
                print(f"{what}: waiting: {reason}", flush=True)
        now = time.monotonic() + pause
        if now > begun + timeout or (led and now > led + elsewhere):
            print(f"{what}: gave up after {now - pause - begun:.0f} s. {reason}", file=sys.stderr, flush=True)
            return 1
        time.sleep(pause)


def turn(mode, low, high, name):
    """Seconds to wait: from the pod's name (the same at each start of the same pod), or by chance."""
    if mode == "none" or high <= low:
        return 0.0 if mode == "none" else low
    if mode == "random":
        return random.uniform(low, high)  # noqa: S311  spreads load, guards nothing
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return low + share * (high - low)


def _filled(text):
    filled = os.path.expandvars(text)
    return "" if filled.startswith("${") else filled


def main(argv=None):
    parser = argparse.ArgumentParser(prog="wait_for")
    parser.add_argument("--timeout", type=float, default=300)
    steps = parser.add_subparsers(dest="step", required=True)
    broker = steps.add_parser("broker")
    broker.add_argument("--url", required=True)
    broker.add_argument("--user", default="")
    broker.add_argument("--password", default="")
    broker.add_argument("--master", default="mymaster", help="the name under which Sentinels know it")
    database = steps.add_parser("database")
    database.add_argument("--settings", type=json.loads, required=True)
    database.add_argument("--table", action="append", default=[])
    stagger = steps.add_parser("stagger")
    stagger.add_argument("--mode", choices=("hash", "random", "none"), default="hash")
    stagger.add_argument("--min", type=float, default=5)
    stagger.add_argument("--max", type=float, default=25)
    options = parser.parse_args(argv)
    # ${NAME} is filled in here, not by Kubernetes: a password stays out of the command line.
    if options.step == "broker":
        url, password = (os.path.expandvars(text) for text in (options.url, options.password))
        # Not every application has these two.
        user, name = (_filled(text) for text in (options.user, options.master))
        return until_true("broker", lambda: check_brokers(url, (user, password), name or "mymaster"), options.timeout)
    if options.step == "database":
        settings = {key: os.path.expandvars(str(value)) for key, value in options.settings.items()}
        return until_true("database", lambda: check_database(settings, options.table), options.timeout)
    pause = turn(options.mode, options.min, options.max, socket.gethostname())
    print(f"stagger: starting in {pause:.1f} s ({options.mode})", flush=True)
    time.sleep(pause)
    return 0


if __name__ == "__main__":
    sys.exit(main())
