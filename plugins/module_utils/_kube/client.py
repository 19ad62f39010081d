# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server as methods on JSON objects: one connection pool, discovery once, bounded retries."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import KubeError, NoAnswerError, NoClusterError, Unreachable, from_answer
from .resources import Json, ObjectRef, Resource, parse_discovery
from .session import KUBERNETES_IMPORT_ERROR, Query, Session

if TYPE_CHECKING:
    from .channels import Channels

__all__ = ["KUBERNETES_IMPORT_ERROR", "Api", "Json", "KubeError", "NoClusterError", "ObjectRef", "connect"]

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
# The server did not act on a request that it answered with one of these.
_NOT_ACTED = (429, 503)


def connect(params: Mapping[str, Any]) -> Api:
    """The API that the options KUBE_ARGS name. Raises NoClusterError where there is no such kubeconfig."""
    timeout = float(params.get("request_timeout") or 30)
    session = Session(params.get("kubeconfig"), params.get("context"), timeout)
    return Api(session, retry_timeout=float(params.get("retry_timeout") or 0))


class Api:
    """One cluster. Every method raises KubeError; times are seconds; objects are what JSON makes of them."""

    def __init__(self, session: Session, *, retry_timeout: float = 20) -> None:
        self._session = session
        self._retry_timeout = retry_timeout
        self._resources: dict[tuple[str, str], Resource] | None = None

    @property
    def host(self) -> str:
        return self._session.host

    # Requests

    def request(
        self,
        method: str,
        path: str,
        query: Query = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        repeatable: bool | None = None,
        what: str | None = None,
    ) -> Any:
        """Sends one request and returns the decoded JSON.

        What failed on the way is repeated for as long as `retry_timeout` allows: anything the server did not
        act upon, and when `repeatable` (by default all but POST) also what it may have acted upon.
        """
        text = self._exchange(
            method,
            path,
            query,
            body,
            content_type=content_type,
            accept=accept,
            repeatable=repeatable,
            what=what,
        )
        return json.loads(text) if text else None

    def _exchange(
        self,
        method: str,
        path: str,
        query: Query,
        body: Any = None,
        *,
        content_type: str = "",
        accept: str,
        repeatable: bool | None = None,
        what: str | None,
    ) -> bytes:
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": accept, **({"Content-Type": content_type} if payload is not None else {})}
        may_repeat = method != "POST" if repeatable is None else repeatable
        what = what or f"{method} {path}"
        deadline = time.monotonic() + self._retry_timeout
        pause, renewed = _PAUSE, False
        while True:
            wait = pause
            try:
                answer = self._session.request(method, path, query, payload, headers)
            except Unreachable as error:
                problem: KubeError = self._silence(what, error)
                again = (may_repeat or not error.sent) and not error.final
            else:
                if answer.status < 300:
                    return answer.body
                problem = from_answer(what, answer.status, answer.body)
                if answer.status == 401 and not renewed:
                    renewed = True
                    self._session.renew()
                    continue
                failed = may_repeat and answer.status >= 500 and not problem.is_permanent
                again = answer.status in _NOT_ACTED or failed
                wait = answer.retry_after or pause
            # Several clients that lost the same server should not all come back at the same moment.
            wait *= 0.75 + random.random() / 2  # noqa: S311 - spreads load, hides nothing
            if not again or time.monotonic() + wait > deadline:
                raise problem
            time.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _silence(self, what: str, error: Unreachable) -> NoAnswerError:
        return NoAnswerError(
            f"{what}: no answer from the API server",
            expected=f"an answer from {self.host} within {self._retry_timeout:g} s",
            found=str(error),
            remedy="check that the cluster is up, that `kubeconfig` names it, and what lies in between",
        )

    # Kinds

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where a kind lives. Kinds that came up since the first look (a new CRD) are found too."""
        found = self.find_resource(api_version, kind) or self.find_resource(api_version, kind, fresh=True)
        if found is None:
            raise KubeError(
                f"the API server does not know {kind} in {api_version}",
                status=404,
                reason="NotFound",
                expected="a kind that is built in, or whose CustomResourceDefinition exists",
                found=f"no {kind} in {api_version} on {self.host}",
                remedy="correct apiVersion and kind, or install the operator that brings this kind",
            )
        return found

    def find_resource(self, api_version: str, kind: str, *, fresh: bool = False) -> Resource | None:
        """As `resource`, from what is already known; None for a kind that is not. With `fresh` asks again."""
        if self._resources is None or fresh:
            documents = [self.request("GET", path, accept=_DISCOVERY) for path in ("/api", "/apis")]
            self._resources = parse_discovery(documents)
        return self._resources.get((api_version, kind))

    def find_kind(self, group: str, kind: str) -> Resource | None:
        """As `find_resource`, in the version that the server prefers; `group` is empty for the core."""
        self.find_resource(group, kind)
        return next(
            (
                found
                for (version, name), found in (self._resources or {}).items()
                if name == kind and version.rpartition("/")[0] == group
            ),
            None,
        )

    def path(self, ref: ObjectRef, subresource: str | None = None) -> str:
        resource = self.resource(ref.api_version, ref.kind)
        if resource.namespaced and not ref.namespace:
            raise KubeError(
                f"{ref} names no namespace",
                expected="metadata.namespace, as the kind lives in namespaces",
                remedy="set it in the definition, or the option `namespace`",
            )
        return resource.path(ref.namespace, ref.name, subresource)

    # Objects

    def get(self, ref: ObjectRef) -> Json | None:
        """The live object, or None."""
        try:
            found: Json = self.request("GET", self.path(ref), what=f"GET {ref}")
        except KubeError as error:
            if error.not_found:
                return None
            raise
        return found

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Json]:
        """All objects of a kind, of one namespace or of all."""
        resource = self.resource(api_version, kind)
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        answer = self.request(
            "GET",
            resource.path(namespace),
            {key: value for key, value in query.items() if value},
            what=f"LIST {kind} in {namespace or 'all namespaces'}",
        )
        # Items of a list do not repeat what the list says of all of them.
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer.get("items") or []]

    def apply(self, obj: Mapping[str, Any], *, field_manager: str, force: bool = False, dry_run: bool = False) -> Json:
        """Server-side apply; returns the object as it is then (with `dry_run`: as it would be)."""
        query = {"fieldManager": field_manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        ref = ObjectRef.of(obj)
        path, what = self.path(ref), f"apply of {ref}"
        applied: Json = self.request("PATCH", path, query, obj, content_type=_APPLY, what=what)
        return applied

    def create(self, obj: Mapping[str, Any], dry_run: bool = False, field_manager: str = "celeryops") -> Json:
        """Makes an object. Not repeated once the server may have made it."""
        resource = self.resource(str(obj["apiVersion"]), str(obj["kind"]))
        meta = obj["metadata"]
        query = {
            "fieldManager": field_manager,
            "fieldValidation": "Strict",
            **({"dryRun": "All"} if dry_run else {}),
        }
        made: Json = self.request(
            "POST",
            resource.path(meta.get("namespace")),
            query,
            obj,
            repeatable=dry_run,
            what=f"create of {resource.kind} {meta.get('name') or meta.get('generateName')}",
        )
        return made

    def patch(
        self,
        ref: ObjectRef,
        body: Any,
        *,
        content_type: str = _MERGE,
        field_manager: str = "celeryops",
        dry_run: bool = False,
        subresource: str | None = None,
    ) -> Json:
        """Changes an object; by default `body` is a JSON merge patch."""
        query = {"fieldManager": field_manager, **({"dryRun": "All"} if dry_run else {})}
        patched: Json = self.request(
            "PATCH",
            self.path(ref, subresource),
            query,
            body,
            content_type=content_type,
            what=f"patch of {ref}",
        )
        return patched

    def delete(
        self,
        ref: ObjectRef,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
        uid: str | None = None,
        dry_run: bool = False,
    ) -> bool:
        """Removes an object, with `uid` only that very one; False when it was not there."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        if dry_run:
            options["dryRun"] = ["All"]
        try:
            self.request("DELETE", self.path(ref), body=options, what=f"delete of {ref}")
        except KubeError as error:
            # With a uid, a conflict says that another object stands there now: the one meant is gone.
            if error.not_found or (uid and error.conflict):
                return False
            raise
        return True

    def watch(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        field_selector: str | None = None,
        label_selector: str | None = None,
        resource_version: str | None = None,
        timeout: float,
    ) -> Iterator[tuple[str, Json]]:
        """Events as (type, object) until the server ends the stream or `timeout` passes.

        An expired `resource_version` raises KubeError with status 410: list again.
        """
        query = {
            "watch": "true",
            "timeoutSeconds": str(max(1, int(timeout))),
            "fieldSelector": field_selector,
            "labelSelector": label_selector,
            "resourceVersion": resource_version,
        }
        path = self.resource(api_version, kind).path(namespace)
        try:
            for line in self._session.lines(path, {k: v for k, v in query.items() if v}, timeout + 5):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise from_answer(f"watch of {kind}", int(status.get("code") or 500), json.dumps(status).encode())
                yield event["type"], event["object"]
        except Unreachable as error:
            raise self._silence(f"watch of {kind}", error) from error

    def pod_log(
        self,
        namespace: str,
        pod: str,
        container: str | None = None,
        tail_lines: int | None = None,
        previous: bool = False,
        since_seconds: int | None = None,
    ) -> str:
        query = {
            "container": container,
            "sinceSeconds": since_seconds,
            "tailLines": tail_lines,
            "previous": "true" if previous else None,
        }
        path = self.path(ObjectRef("v1", "Pod", pod, namespace), "log")
        chosen = {key: value for key, value in query.items() if value is not None}
        what = f"log of Pod {namespace}/{pod}"
        text = self._exchange("GET", path, chosen, accept="*/*", what=what)
        return text.decode("utf-8", "replace")

    def channels(self, path: str, query: Query, protocols: Sequence[str], timeout: float, what: str) -> Channels:
        """A stream of channels to a subresource of a pod. Repeated only where the server was not reached."""
        deadline = time.monotonic() + min(timeout, self._retry_timeout)
        while True:
            try:
                return self._session.websocket(path, query, protocols, timeout)
            except Unreachable as error:
                if error.sent or time.monotonic() + _PAUSE > deadline:
                    raise self._silence(what, error) from error
                time.sleep(_PAUSE)
            except KubeError as error:
                raise from_answer(what, error.status, json.dumps(dict(error.body)).encode()) from error
