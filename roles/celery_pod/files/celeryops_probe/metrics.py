# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts of tasks by name and state, kept in the worker's main process and served to Prometheus.

Prefork children run the tasks, the main process answers the scrapes. A datagram socket pair made
before the fork carries one small message per finished task: no files to clean up after a child
that died, no lock that a fork could leave taken, and a child never waits for it.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time

from celery import __version__ as celery_version
from celery.utils.log import get_logger

from celeryops_probe import delivery, queues

__all__ = ("Aggregator", "render", "serve")

logger = get_logger(__name__)

BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Aggregator:
    """Sums what every process of this worker reports. Written to by one thread, read by others."""

    def __init__(self):
        self.pid = os.getpid()
        self._here = {}
        self._received = {}
        self._finished = {}
        self._durations = {}
        self._lost = {}
        self._beat = {}
        self._lock = threading.Lock()
        self._inbox, self._outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._outbox.setblocking(False)
        self._unsent = 0
        self._dropped = 0

    # In the process that runs the task
    def started(self, task_id):
        self._here[task_id] = time.monotonic()

    def is_here(self, task_id):
        """Did this very process start the task?"""
        return task_id in self._here

    def finished(self, task_id, task, state, queue, sent_by):
        begun = self._here.pop(task_id, None)
        report = {
            "task": task,
            "id": task_id,
            "state": state,
            "queue": queue,
            "sent_by": sent_by,
            "seconds": 0.0 if begun is None else time.monotonic() - begun,
            "finished": time.time(),
            "dropped": self._unsent,
        }
        if os.getpid() == self.pid:
            self._add(report)
            return
        try:
            self._outbox.send(json.dumps(report).encode())
            self._unsent = 0
        except OSError:
            # A full socket: counted, told with the next report. A task never waits for its statistics.
            self._unsent += 1

    # In the main process
    def received(self, task, queue):
        with self._lock:
            key = task, queue or ""
            self._received[key] = self._received.get(key, 0) + 1

    def lost(self, task):
        with self._lock:
            self._lost[task] = self._lost.get(task, 0) + 1

    def listen(self):
        """Take the children's reports for as long as the process lives."""
        while True:
            data = self._inbox.recv(65536)
            try:
                self._add(json.loads(data))
            except (ValueError, KeyError):
                logger.exception("celeryops_probe: a report that makes no sense: %r", data[:200])

    def _add(self, report):
        with self._lock:
            task, state = report["task"], report["state"]
            self._finished[task, state] = self._finished.get((task, state), 0) + 1
            buckets, total = self._durations.setdefault(task, ([0] * (len(BUCKETS) + 1), [0.0]))
            buckets[next((i for i, le in enumerate(BUCKETS) if report["seconds"] <= le), len(BUCKETS))] += 1
            total[0] += report["seconds"]
            self._dropped += report["dropped"]
            if report["sent_by"]:
                kept = ("task", "id", "state", "queue", "finished")
                self._beat[report["sent_by"]] = {name: report[name] for name in kept}

    def summary(self):
        """For the remote-control answer."""
        with self._lock:
            totals = {}
            for (_name, state), count in self._finished.items():
                totals[state] = totals.get(state, 0) + count
            return {"tasks": totals, "lost": sum(self._lost.values()), "beat": dict(self._beat)}

    def samples(self):
        """(name, help, type, [(labels, value)]) of each metric family."""
        with self._lock:
            received = [({"task": task, "queue": queue}, n) for (task, queue), n in self._received.items()]
            finished = [({"task": task, "state": state}, n) for (task, state), n in self._finished.items()]
            lost = [({"task": task}, n) for task, n in self._lost.items()]
            beat = [({"entry": name}, run["finished"]) for name, run in self._beat.items()]
            durations = [(task, list(counts), total[0]) for task, (counts, total) in self._durations.items()]
            dropped = self._dropped
        yield "celery_tasks_received_total", "Tasks taken from the broker", "counter", received
        yield "celery_tasks_finished_total", "Tasks ended, by state", "counter", finished
        yield "celery_tasks_lost_total", "Tasks whose process died or ran out of time", "counter", lost
        yield "celery_beat_task_finished_timestamp_seconds", "Newest run of what beat sent", "gauge", beat
        yield "celery_reports_dropped_total", "Reports lost between processes", "counter", [({}, dropped)]
        yield "celery_task_duration_seconds", "Run time of tasks", "histogram", list(_histogram(durations))


def _histogram(durations):
    for task, counts, total in durations:
        seen = 0
        for index, bound in enumerate((*map(str, BUCKETS), "+Inf")):
            seen += counts[index]
            yield {"": "_bucket", "task": task, "le": bound}, seen
        yield {"": "_sum", "task": task}, total
        yield {"": "_count", "task": task}, seen


def _line(family, labels, value):
    """One sample; the label named "" is the suffix of the family's name."""
    escaped = (
        '{}="{}"'.format(key, str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for key, text in labels.items()
        if key
    )
    body = ",".join(escaped)
    return f"{family}{labels.get('', '')}{'{' + body + '}' if body else ''} {value}\n"


def render(families):
    """The text format of Prometheus."""
    parts = []
    for name, text, kind, samples in families:
        parts.append(f"# HELP {name} {text}\n# TYPE {name} {kind}\n")
        parts.extend(_line(name, labels, value) for labels, value in samples)
    return "".join(parts)


def _worker_samples(probe, consumer):
    from celery.worker import state  # noqa: PLC0415  the worker has loaded it; tests of render need not

    info = {"hostname": consumer.hostname, "celery": celery_version}
    consuming = int(probe.consuming_at is not None)
    yield "celery_worker_info", "Which worker this is", "gauge", [(info, 1)]
    yield "celery_worker_up", "The main process answers", "gauge", [({}, 1)]
    yield "celery_worker_consuming", "The consumer has its broker and polls it", "gauge", [({}, consuming)]
    yield "celery_worker_concurrency", "Size of the pool", "gauge", [({}, consumer.pool.num_processes)]
    yield "celery_tasks_active", "Tasks that run now", "gauge", [({}, len(state.active_requests))]
    yield (
        "celery_tasks_reserved",
        "Tasks held, running ones included",
        "gauge",
        [({}, len(state.reserved_requests))],
    )
    yield queues.acknowledged(state.active_requests)


_served = []


def serve(probe, consumer):
    """Start to listen and to answer, once in the life of the process, after the pool has forked."""
    if _served:
        return
    _served.append(True)
    threading.Thread(target=probe.observed.listen, name="celeryops-reports", daemon=True).start()
    port = int(os.environ.get("CELERYOPS_METRICS_PORT") or 0)
    if not port:
        return

    backlog = queues.Backlog()

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self):
            if self.path.split("?")[0] != "/metrics":
                self.send_error(404, "metrics are at /metrics")
                return
            body = render(
                [
                    *_worker_samples(probe, consumer),
                    *probe.observed.samples(),
                    *delivery.samples(),
                    *backlog.samples(consumer),
                ]
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """A scrape every few seconds is no news."""

    try:
        listening = _listening_socket(os.environ.get("CELERYOPS_METRICS_ADDRESS", ""), port)
    except OSError:
        # Metrics must not take the worker down, but nobody shall search for them either.
        logger.exception("celeryops_probe: no metrics: port %s cannot be bound", port)
        return
    # HTTPServer's own bind looks its host name up in DNS, which may take long in a pod.
    server = http.server.ThreadingHTTPServer(listening.getsockname()[:2], Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    threading.Thread(target=server.serve_forever, name="celeryops-metrics", daemon=True).start()


def _listening_socket(address, port):
    """On every address of both families where there are both, or on the one address asked for."""
    if address:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family)
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        # A kernel may know IPv6 and yet have it switched off.
        return socket.create_server(("", port))
