# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One client for the Kubernetes API: JSON objects in and out, connections reused, bounded retries.

The ``kubernetes`` library does what is hard to do well: reading kubeconfigs, exec and token
credentials, TLS, proxies. Its typed models are not used: objects stay the dictionaries they are.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

try:
    import urllib3
    from kubernetes import client as kubernetes_client
    from kubernetes import config as kubernetes_config

    KUBERNETES_IMPORT_ERROR: str | None = None
except ImportError:
    KUBERNETES_IMPORT_ERROR = traceback.format_exc()

from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError

__all__ = ["KUBERNETES_IMPORT_ERROR", "Api", "ObjectRef", "connect"]

Object = dict[str, Any]

# Four tries in all, 0.2 + 0.8 + 3.2 s between them: an API server that restarts is back in that time.
BACKOFF_SECONDS = (0.2, 0.8, 3.2)
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 60.0
APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class ObjectRef:
    """Which object: ``namespace`` is None for a cluster-scoped one."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> ObjectRef:
        """The reference of an object as a manifest gives it."""
        metadata = obj.get("metadata") or {}
        return cls(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace"))

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"


@dataclass(frozen=True)
class Resource:
    """What discovery says of a kind: the plural in its path, and whether it lives in a namespace."""

    plural: str
    namespaced: bool


class Api:
    """The Kubernetes API of one cluster. Every method raises :class:`KubeError`."""

    def __init__(self, api_client: Any) -> None:
        self._client = api_client
        self._pool = api_client.rest_client.pool_manager
        self._resources: dict[str, dict[str, Resource]] = {}
        self.requests = 0

    @property
    def host(self) -> str:
        """The API server's URL."""
        return str(self._client.configuration.host)

    # -- objects ------------------------------------------------------------------------------

    def get(self, ref: ObjectRef) -> Object | None:
        """The object, or None where it does not exist."""
        try:
            return self.request("GET", self.path(ref.api_version, ref.kind, ref.namespace, ref.name))
        except KubeError as error:
            if error.not_found:
                return None
            raise

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Object]:
        """All objects of a kind, in one namespace or in all. Items carry apiVersion and kind."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        answer = self.request("GET", self.path(api_version, kind, namespace), query)
        return [{**item, "apiVersion": api_version, "kind": kind} for item in answer.get("items") or []]

    def apply(self, obj: Object, *, field_manager: str, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply; returns the object as the server holds it afterwards."""
        ref = ObjectRef.of(obj)
        query = {"fieldManager": field_manager, "force": str(force).lower(), **_dry_run(dry_run)}
        path = self.path(ref.api_version, ref.kind, ref.namespace, ref.name)
        return self.request("PATCH", path, query, obj, content_type=APPLY_PATCH)

    def create(self, obj: Object, *, field_manager: str | None = None, dry_run: bool = False) -> Object:
        """POSTs an object; a name made from generateName is in the answer."""
        namespace = (obj.get("metadata") or {}).get("namespace")
        path = self.path(obj["apiVersion"], obj["kind"], namespace)
        return self.request("POST", path, {"fieldManager": field_manager, **_dry_run(dry_run)}, obj)

    def patch(
        self, ref: ObjectRef, body: Object, *, field_manager: str | None = None, dry_run: bool = False
    ) -> Object:
        """A JSON merge patch."""
        path = self.path(ref.api_version, ref.kind, ref.namespace, ref.name)
        query = {"fieldManager": field_manager, **_dry_run(dry_run)}
        return self.request("PATCH", path, query, body, content_type=MERGE_PATCH)

    def delete(self, ref: ObjectRef, *, dry_run: bool = False, grace_seconds: int | None = None) -> bool:
        """Deletes in the background; False where there was nothing to delete."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        if dry_run:
            body["dryRun"] = ["All"]
        try:
            self.request("DELETE", self.path(ref.api_version, ref.kind, ref.namespace, ref.name), body=body)
        except KubeError as error:
            if error.not_found:
                return False
            raise
        return True

    def pod_log(
        self,
        namespace: str,
        pod: str,
        container: str | None = None,
        tail_lines: int | None = None,
        previous: bool = False,
    ) -> str:
        """A container's log; ``previous`` is that of its last, ended run."""
        query = {"container": container, "tailLines": tail_lines, "previous": "true" if previous else None}
        data = self._send("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query)
        return data.decode("utf-8", "replace")

    # -- discovery ----------------------------------------------------------------------------

    def path(self, api_version: str, kind: str, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of a kind's collection, or of one object in it."""
        resource = self.resource(api_version, kind)
        parts = [_group_path(api_version)]
        if resource.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(resource.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/".join(parts)

    def resource(self, api_version: str, kind: str) -> Resource:
        """What the server serves under this apiVersion and kind; each apiVersion is asked for once."""
        if kind not in self._resources.get(api_version, {}):
            try:
                answer = self.request("GET", _group_path(api_version))
            except KubeError as error:
                if not error.not_found:
                    raise
                answer = {"resources": []}
            self._resources[api_version] = {
                item["kind"]: Resource(item["name"], item["namespaced"])
                for item in answer["resources"]
                if "/" not in item["name"]
            }
        try:
            return self._resources[api_version][kind]
        except KeyError:
            raise KubeError(
                f"The API server does not serve {kind} of {api_version}",
                status=404,
                reason="UnknownKind",
                expected=f"a kind that {self.host} serves",
                found=f"{api_version} {kind}",
                remedy="Install its CustomResourceDefinition first, or correct apiVersion and kind.",
            ) from None

    # -- requests -----------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request with a JSON answer."""
        answer: Object = json.loads(self._send(method, path, query, body, content_type) or b"{}")
        return answer

    def watch(self, path: str, query: Mapping[str, Any], timeout: float) -> Any:
        """Yields (type, object) of a watch until the server ends it or ``timeout`` seconds have passed."""
        query = {**query, "watch": "true", "timeoutSeconds": max(1, int(timeout))}
        response = self._once("GET", path, query, None, "application/json", stream_for=timeout + 5)
        try:
            pending = b""
            for chunk in response.stream(None, decode_content=True):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    yield event["type"], event["object"]
        except urllib3.exceptions.ReadTimeoutError:
            return
        finally:
            response.close()

    def authorization(self) -> dict[str, str]:
        """The headers that authenticate a request; expired tokens are renewed by the library."""
        headers: dict[str, str] = {}
        self._client.update_params_for_auth(headers, [], ["BearerToken"])
        return headers

    @property
    def library_client(self) -> Any:
        """The library's own client, for what only the library does (port-forwards)."""
        return self._client

    @property
    def configuration(self) -> Any:
        """The library's configuration, for websocket connections."""
        return self._client.configuration

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        # A POST may have been carried out although its answer was lost; everything else here is idempotent.
        repeatable = method != "POST"
        for pause in (*BACKOFF_SECONDS, None):
            try:
                response = self._once(method, path, query, body, content_type)
            except urllib3.exceptions.HTTPError as error:
                never_sent = isinstance(error, urllib3.exceptions.NewConnectionError)
                if pause is None or not (repeatable or never_sent) or _certificate_refused(error):
                    raise _unreachable(self.host, error) from error
                time.sleep(pause)
                continue
            if response.status < 400:
                return bytes(response.data)
            retry = response.status == 429 or (repeatable and response.status in (500, 502, 503, 504))
            if pause is None or not retry:
                raise _refused(method, path, response.status, response.data)
            time.sleep(max(pause, float(response.headers.get("Retry-After") or 0)))
        raise AssertionError("the last try returns or raises")

    def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Object | None,
        content_type: str,
        *,
        stream_for: float | None = None,
    ) -> Any:
        self.requests += 1
        pairs = {key: value for key, value in (query or {}).items() if value is not None}
        url = f"{self.host}{path}" + (f"?{urlencode(pairs)}" if pairs else "")
        headers = {"Accept": "application/json", "User-Agent": "celeryops.platform", **self.authorization()}
        if body is not None:
            headers["Content-Type"] = content_type
        return self._pool.request(
            method,
            url,
            headers=headers,
            body=None if body is None else json.dumps(body).encode(),
            preload_content=stream_for is None,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=stream_for or READ_TIMEOUT),
            retries=False,
        )


def connect(params: Mapping[str, Any]) -> Api:
    """The API of the cluster that ``kubeconfig`` and ``context`` name; in a pod without them, its own."""
    try:
        if params.get("kubeconfig") or not _in_cluster():
            client = kubernetes_config.new_client_from_config(
                config_file=params.get("kubeconfig"), context=params.get("context")
            )
        else:
            kubernetes_config.load_incluster_config()
            client = kubernetes_client.ApiClient()
    except (kubernetes_config.ConfigException, OSError) as error:
        raise KubeError(
            "The kubeconfig cannot be used",
            expected="a readable kubeconfig that holds the context",
            found=f"{params.get('kubeconfig') or 'the default kubeconfig'}: {error}",
            remedy="Set kubeconfig and context, or bring the cluster up first.",
        ) from error
    return Api(client)


def _in_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


def _group_path(api_version: str) -> str:
    return f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"


def _dry_run(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _certificate_refused(error: Exception) -> bool:
    return isinstance(error, urllib3.exceptions.SSLError)


def _unreachable(host: str, error: Exception) -> KubeError:
    return KubeError(
        "The API server cannot be reached",
        reason="Unreachable",
        expected=f"an answer from {host}",
        found=str(error),
        remedy="Check that the cluster runs and that the kubeconfig's server address is right.",
    )


def _refused(method: str, path: str, status: int, data: bytes) -> KubeError:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    words = str(answer.get("message") or data.decode("utf-8", "replace")[:500])
    reason = str(answer.get("reason") or http.client.responses.get(status, ""))
    return KubeError(
        f"The API server refused {method} {path}: {words}",
        status=status,
        reason=reason,
        server_message=words,
        causes=(answer.get("details") or {}).get("causes") or [],
    )
