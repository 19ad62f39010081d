# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that writes all the time and tells when it could not. Runs in a pod, with psycopg 3.

A pooler may hold a write back until there is a primary again, so one that took long is told as well as one that failed.

Each row has its number and is tried until it is acknowledged; only then comes the next. So the rows that were
acknowledged are those up to the last number, and what a server lost is missing among them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from typing import Any

__all__ = ["MARK", "main"]

MARK = "CELERYOPS-WRITER "
PAUSE_AFTER_FAILURE = 0.05
# Seconds between two acknowledged writes from which on it is told.
SLOW = 1.0
TELL_EVERY = 0.5


class Writer:
    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.driver = importlib.import_module("psycopg")
        self.connection: Any = None
        self.number = 0
        self.stopping = False
        self.connections = 0

    def stop(self, *_signal: Any) -> None:
        self.stopping = True

    def connect(self) -> None:
        request = self.request
        self.connection = self.driver.connect(
            host=request["host"],
            port=request["port"],
            dbname=request["database"],
            user=os.environ["WRITER_USER"],
            password=os.environ["WRITER_PASSWORD"],
            connect_timeout=3,
            tcp_user_timeout=5000,
            autocommit=True,
            prepare_threshold=None,
        )
        self.connections += 1

    def disconnect(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def write(self, number: int, attempt: int) -> None:
        """One acknowledged row, on a connection of its own where the request says so."""
        if self.connection is None:
            self.connect()
        # An attempt whose answer was lost may have been committed.
        statement = f"INSERT INTO {self.request['table']} VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"  # noqa: S608
        self.connection.execute(statement, (self.request["client"], number, attempt))
        if self.request["fresh"]:
            self.disconnect()

    def prepare(self) -> None:
        self.connect()
        columns = "client text, n bigint, attempt int, PRIMARY KEY (client, n)"
        # Two clients that make it at the same moment: one of them is told so.
        with contextlib.suppress(self.driver.errors.UniqueViolation):
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS {self.request['table']} ({columns})")
        (last,) = self.connection.execute(
            f"SELECT coalesce(max(n), 0) FROM {self.request['table']} WHERE client = %s",  # noqa: S608
            (self.request["client"],),
        ).fetchone()
        self.number = last
        self.disconnect()

    def begin(self) -> None:
        """As patient as a write: the way to a primary may be another one's for a moment."""
        while not self.stopping:
            try:
                self.prepare()
                return
            except self.driver.OperationalError:
                self.disconnect()
                time.sleep(PAUSE_AFTER_FAILURE)

    def run(self) -> None:
        self.begin()
        good, told = time.time(), 0.0
        while not self.stopping:
            attempts, errors = 0, []
            while True:
                attempts += 1
                try:
                    self.write(self.number + 1, attempts)
                    break
                except self.driver.Error as error:
                    errors.append(" ".join(str(error).split()))
                    self.disconnect()
                    time.sleep(PAUSE_AFTER_FAILURE)
                    if self.stopping:
                        return
            now = time.time()
            self.number += 1
            if errors or now - good > SLOW:
                self.tell(
                    gap={"from": good, "to": now, "attempts": attempts, "errors": [*errors[:1], *errors[1:][-1:]]}
                )
            good = now
            if now - told > TELL_EVERY:
                self.tell()
                told = now
            time.sleep(self.request["interval"])

    def tell(self, **more: Any) -> None:
        line = {"acknowledged": self.number, "connections": self.connections, **more}
        sys.stdout.write(MARK + json.dumps(line) + "\n")
        sys.stdout.flush()


def main() -> None:
    writer = Writer(json.loads(os.environ["WRITER_REQUEST"]))
    signal.signal(signal.SIGTERM, writer.stop)
    writer.run()
    writer.tell(ended=True)


if __name__ == "__main__":
    main()
