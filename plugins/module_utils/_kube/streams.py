# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as they are now, kept up by watches: two requests per kind and namespace, however long one waits."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from .client import Api, KubeError
from .resources import Json

__all__ = ["Streams"]

# Then everything is listed again. A connection that broke in silence is noticed no later.
_WATCH_SECONDS = 60.0
# Between two lists at least: also the pace where watching is not allowed, so that every watch fails.
_PAUSE_SECONDS = 1.0


@dataclass(slots=True)
class _Stream:
    """Some objects of a kind in a namespace: `name` is set where it is one only. `objects` is None at first."""

    api_version: str
    kind: str
    namespace: str
    name: str | None
    objects: dict[str, Json] | None = field(default=None)


class Streams:
    """Threads that end with the process, or after `close` within a minute."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._changed = threading.Condition()
        self._news = False
        self._closed = False
        self._error: Exception | None = None
        self._streams: dict[tuple[str, str, str], _Stream] = {}

    def follow(self, api_version: str, kind: str, namespace: str, name: str | None = None) -> None:
        """Begins to read objects of a kind, or the one that is named."""
        # Discovery is the caller's: threads should not do it side by side.
        self._api.resource(api_version, kind)
        stream = _Stream(api_version, kind, namespace, name)
        self._streams[api_version, kind, namespace] = stream
        threading.Thread(target=self._run, args=(stream,), daemon=True).start()

    def objects(self, api_version: str, kind: str, namespace: str) -> dict[str, Json] | None:
        """The present objects by name; None until they have been read. Raises what made that fail."""
        with self._changed:
            if self._error is not None:
                raise self._error
            found = self._streams[api_version, kind, namespace].objects
            return None if found is None else dict(found)

    def wait(self, seconds: float) -> None:
        """Returns when something has changed since the last call, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._news, max(0.0, seconds))
            self._news = False

    def close(self) -> None:
        self._closed = True

    def _run(self, stream: _Stream) -> None:
        try:
            while not self._closed:
                self._keep_up(stream)
        except Exception as error:  # raised to whoever asks for the objects
            with self._changed:
                self._error = error
            self._announce()

    def _keep_up(self, stream: _Stream) -> None:
        began = time.monotonic()
        version = self._list(stream)
        try:
            if version:
                self._watch(stream, version)
        except KubeError:
            # Interrupted, too old or not allowed: the next list tells, and fails where it should.
            version = ""
        if not version:
            time.sleep(max(0.0, began + _PAUSE_SECONDS - time.monotonic()))

    def _list(self, stream: _Stream) -> str:
        """Returns the version to watch from; empty where there is nothing to watch."""
        path = self._api.resource(stream.api_version, stream.kind).path(stream.namespace or None)
        query = {"fieldSelector": f"metadata.name={stream.name}"} if stream.name else None
        what = f"LIST {stream.kind} in {stream.namespace or 'all namespaces'}"
        try:
            answer = self._api.request("GET", path, query, what=what)
        except KubeError as error:
            if not error.not_found:
                raise
            # The kind itself is gone, or not served yet.
            answer = {"metadata": {}}
        common = {"apiVersion": stream.api_version, "kind": stream.kind}
        with self._changed:
            stream.objects = {item["metadata"]["name"]: {**common, **item} for item in answer.get("items") or []}
        self._announce()
        return str(answer["metadata"].get("resourceVersion") or "")

    def _watch(self, stream: _Stream, version: str) -> None:
        for event, obj in self._api.watch(
            stream.api_version,
            stream.kind,
            stream.namespace or None,
            field_selector=f"metadata.name={stream.name}" if stream.name else None,
            resource_version=version,
            timeout=_WATCH_SECONDS,
        ):
            if self._closed:
                return
            with self._changed:
                if stream.objects is not None and event == "DELETED":
                    stream.objects.pop(obj["metadata"]["name"], None)
                elif stream.objects is not None:
                    stream.objects[obj["metadata"]["name"]] = obj
            self._announce()

    def _announce(self) -> None:
        with self._changed:
            self._news = True
            self._changed.notify_all()
