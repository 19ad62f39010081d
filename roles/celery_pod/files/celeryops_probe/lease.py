# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Lease of the Kubernetes API, read and written with nothing but the standard library, by a thread of its own.

The pod's service account is the credential: its token is read anew for each request, for it is replaced every hour, and
its CA is what the API server's certificate must be signed by.
"""

from __future__ import annotations

import datetime
import http.client
import json
import os
import random
import ssl
import threading
import time
import uuid
from pathlib import Path

from celery.utils.log import get_logger

from celeryops_probe.election import Election, Lease, Timing
from celeryops_probe.state import seconds

__all__ = ("Candidate", "LeaseError", "Store", "candidate", "identity")

logger = get_logger(__name__)

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CONFLICT = 409


class LeaseError(Exception):
    """The API server was not reached, or refused."""

    def __init__(self, text, status=None):
        super().__init__(text)
        self.status = status


def since_boot():
    """Seconds that go on while the process, or the machine, sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def clock():
    """The time of day as a Lease holds it."""
    now = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017 - Python 3.8
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Store:
    """One Lease. ``timeout`` in seconds for each step of a request."""

    def __init__(self, namespace, name, timeout, environment=None):
        environment = os.environ if environment is None else environment
        self.path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"
        self.host = environment["KUBERNETES_SERVICE_HOST"]
        self.port = int(environment["KUBERNETES_SERVICE_PORT"])
        self.account = Path(environment.get("CELERYOPS_ACCOUNT_DIR") or ACCOUNT)
        self.timeout = timeout
        self.connection = None
        self.object = None

    def read(self):
        """The Lease as it is now."""
        return self._keep(self._request("GET"))

    def write(self, lease):
        """Writes over the version that was read or written last; a LeaseError with status 409 when it is no more."""
        spec = {
            **(self.object.get("spec") or {}),
            "holderIdentity": lease.holder,
            "leaseDurationSeconds": int(lease.duration),
            "acquireTime": lease.acquired,
            "renewTime": lease.renewed,
            "leaseTransitions": lease.transitions,
        }
        # The resourceVersion in it is what the API server compares.
        return self._keep(self._request("PUT", {**self.object, "spec": spec}))

    def _keep(self, found):
        self.object = found
        spec = found.get("spec") or {}
        return Lease(
            holder=spec.get("holderIdentity") or "",
            duration=float(spec.get("leaseDurationSeconds") or 0),
            acquired=spec.get("acquireTime") or "",
            renewed=spec.get("renewTime") or "",
            transitions=int(spec.get("leaseTransitions") or 0),
        )

    def _request(self, method, body=None):
        try:
            if self.connection is None:
                context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
                # http.client knows no proxies, which is right: this is the cluster's own network.
                self.connection = http.client.HTTPSConnection(
                    self.host, self.port, timeout=self.timeout, context=context
                )
            headers = {
                "Authorization": "Bearer " + (self.account / "token").read_text().strip(),
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": "celeryops-beat",
            }
            self.connection.request(method, self.path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            text, status = answer.read().decode("utf-8", "replace"), answer.status
        except (OSError, http.client.HTTPException) as problem:
            self.forget()
            raise LeaseError(f"{type(problem).__name__}: {problem}") from problem
        try:
            found = json.loads(text)
        except ValueError:
            found = {"message": text[:200]}
        if status != http.client.OK:
            raise LeaseError(f"{status}: {found.get('message')}", status)
        return found

    def forget(self):
        """Next time from the beginning: with a new connection."""
        self.object = None
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Candidate:
    """Takes part in the election. ``term`` is another number each time this one was elected anew."""

    def __init__(self, store, identity, timing):
        self.store = store
        self.timing = timing
        self.election = Election(identity, timing)
        self.term = 0
        self.problem = None
        self.looked_at = since_boot()
        self.answered_at = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="celeryops-lease", daemon=True)

    def start(self):
        self._thread.start()
        return self

    def acts(self):
        """Whether this beat may send right now. Cheap, and as true as the clock."""
        return self.election.acts(since_boot())

    def works(self):
        """Whether the thread still looks, be the answers what they may."""
        return self._thread.is_alive() and since_boot() - self.looked_at < 4 * self.timing.duration

    def waits(self):
        """Whether this one, which does not act, could soon. One answer that stays out is no reason to say no."""
        return self.works() and self.answered_at is not None and since_boot() - self.answered_at < self.timing.duration

    def lost(self):
        """Whether another one was seen to hold the lease."""
        seen = self.election.seen
        return seen is not None and seen.holder not in ("", self.election.identity)

    def told(self):
        """In words, for the probe and the log."""
        election, now = self.election, since_boot()
        if election.acts(now):
            return "acting"
        if self.problem:
            return f"not acting, for the lease is not to be had: {self.problem}"
        if election.seen is None:
            return "standing by, the lease was not read yet"
        return f"standing by, {election.seen.holder or 'nobody'} acts"

    def leave(self):
        """Gives the Lease up, so that a standby need not wait for its end."""
        self._leaving.set()
        if self._thread.is_alive():
            self._thread.join(2 * self.timing.retry + 3 * self.store.timeout)
        lease = self.election.given_up()
        # From here on this one does not act, whether or not the API server hears of it.
        mine = self.election.identity
        self.election = Election(mine, self.timing)
        if lease is None or self._thread.is_alive():
            return
        try:
            if self.store.read().holder == mine:
                self.store.write(lease)
                logger.info("beat: gave the lease up")
        except LeaseError as problem:
            logger.warning("beat: the lease could not be given up, a standby waits for its end: %s", problem)

    def _run(self):
        while not self._leaving.is_set():
            try:
                self.turn()
                self.answered_at = since_boot()
                self._note(None)
            except LeaseError as problem:
                self._note(str(problem))
            except Exception:
                logger.exception("beat: the lease could not be looked at")
                self._note("an error that is in the log")
            self.looked_at = since_boot()
            # A little apart, so that standbys do not all ask at once.
            self._leaving.wait(self.timing.retry * (1 + random.random() / 5))  # noqa: S311

    def _note(self, problem):
        if problem != self.problem:
            if problem:
                logger.warning("beat: the lease is not to be had: %s", problem)
            else:
                logger.info("beat: the lease is to be had again")
        self.problem = problem

    def turn(self):
        """One look, and one attempt to renew or take the Lease where that is right."""
        before = self.acts()
        if self.store.object is None or not before:
            lease = self.store.read()
            self.election = self.election.observed(lease, since_boot())
        asked_at = since_boot()
        wanted = self.election.wanted(asked_at, clock())
        if wanted is None:
            return
        try:
            granted = self.store.write(wanted)
        except LeaseError as problem:
            self.store.object = None
            if problem.status != CONFLICT:
                raise
            # Somebody wrote in between: look again, at once, so as not to lose a turn.
            self.election = self.election.observed(self.store.read(), since_boot())
            return
        if not before:
            self.term += 1
            logger.info("beat: %s acts from now on", self.election.identity)
        self.election = self.election.granted(granted, asked_at)


def identity(environment=None):
    """The pod, and a uuid that tells a container which was started again in it from the one before."""
    environment = os.environ if environment is None else environment
    return f"{environment.get('CELERYOPS_IDENTITY') or os.uname().nodename}_{uuid.uuid4()}"


def candidate(environment=None):
    """From the pod's environment; None where this beat stands alone."""
    environment = os.environ if environment is None else environment
    place = environment.get("CELERYOPS_LEASE")
    if not place:
        return None
    namespace, _slash, name = place.partition("/")
    timing = Timing(
        duration=seconds("CELERYOPS_LEASE_DURATION", Timing.duration),
        renew_within=seconds("CELERYOPS_LEASE_RENEW_WITHIN", Timing.renew_within),
        retry=seconds("CELERYOPS_LEASE_RETRY", Timing.retry),
    )
    return Candidate(Store(namespace, name, min(timing.retry, 5.0), environment), identity(environment), timing)
