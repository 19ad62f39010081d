# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubeconfig, or the service account of a pod, says of a cluster and its user.

The plain kinds of credentials are read here: to import the library `kubernetes` takes longer than most tasks do. Those
that come from programs and identity providers are left to it; they are marked as `Access.delegated`.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import KubeError, NoClusterError
from .yamlio import load_files

__all__ = ["Access", "read_access"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT = "~/.kube/config"
# What names a user whom the library would not become either: it would act as the one who signed in.
_IMPERSONATION = ("as", "as-uid", "as-groups", "as-user-extra")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server, and as whom.

    Certificates and keys are paths where a file holds them and bytes (PEM) where the kubeconfig does. `authorization`
    is the value of that header, unless `token_file` holds a bearer token that others may replace. `proxy` is what the
    kubeconfig says, not the environment.
    """

    host: str
    verify: bool = True
    authority: Path | bytes | None = None
    server_name: str | None = None
    proxy: str | None = None
    certificate: Path | bytes | None = None
    key: Path | bytes | None = None
    authorization: str | None = None
    token_file: Path | None = None
    files: str = ""
    context: str = ""
    delegated: bool = False


def read_access(kubeconfig: str | None, context: str | None, environ: Mapping[str, str] | None = None) -> Access:
    """The access that options and environment name, looked for as kubectl does.

    K8S_AUTH_KUBECONFIG goes before KUBECONFIG, as with the modules of kubernetes.core: job runners set it.

    Raises NoClusterError where the kubeconfig or its context does not exist, KubeError where it makes no sense.
    """
    environ = os.environ if environ is None else environ
    named = kubeconfig or environ.get("K8S_AUTH_KUBECONFIG") or environ.get("KUBECONFIG") or ""
    paths = [Path(one).expanduser() for one in (named or _DEFAULT).split(os.pathsep) if one]
    present = [path for path in paths if path.exists()]
    if not present and not named and "KUBERNETES_SERVICE_HOST" in environ:
        return _of_service_account(environ)
    source = named or _DEFAULT
    if not present:
        raise _no_cluster(f"context {context or '(the current one)'} in {source}", "no such file")
    return _Files(present, source).access(context)


def _no_cluster(expected: str, found: str) -> NoClusterError:
    return NoClusterError(
        "the cluster's credentials cannot be read",
        expected=expected,
        found=found,
        remedy="correct `kubeconfig` and `context`, or bring the cluster up first",
    )


def _of_service_account(environ: Mapping[str, str]) -> Access:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT") or "443"
    token, authority = SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt"
    for path in (token, authority):
        if not path.exists():
            raise _no_cluster("a pod's service account, as KUBERNETES_SERVICE_HOST is set", f"no {path}")
    address = f"[{host}]" if ":" in host else host
    return Access(f"https://{address}:{port}", authority=authority, token_file=token)


class _Files:
    """One or more kubeconfigs, of which the first that names something decides."""

    def __init__(self, paths: list[Path], source: str) -> None:
        self._source = source
        self._paths = paths
        self._current = ""
        # Section and name to the entry and the folder its relative paths start from.
        self._entries: dict[tuple[str, str], tuple[Mapping[str, Any], Path]] = {}
        for path in paths:
            documents = [one for one in load_files([str(path)], option="kubeconfig") if one is not None]
            for document in documents:
                self._add(document, path)

    def _add(self, document: Any, path: Path) -> None:
        if not isinstance(document, dict):
            raise self._malformed("a mapping with clusters, users and contexts", f"a {type(document).__name__}", path)
        self._current = self._current or str(document.get("current-context") or "")
        for section in ("clusters", "users", "contexts"):
            for entry in document.get(section) or []:
                singular = section[:-1]
                inner = entry.get(singular) if isinstance(entry, dict) else None
                if not isinstance(entry, dict) or "name" not in entry or not isinstance(inner, (dict, type(None))):
                    raise self._malformed(f"`name` and `{singular}` in each of {section}", "an entry without", path)
                self._entries.setdefault((section, str(entry["name"])), (inner or {}, path.absolute().parent))

    def _malformed(self, expected: str, found: str, path: Path | None = None) -> KubeError:
        return KubeError(
            f"the kubeconfig {path or self._source} makes no sense",
            expected=expected,
            found=found,
            remedy="correct the file, or the option `kubeconfig`",
        )

    def _entry(self, section: str, name: str) -> tuple[Mapping[str, Any], Path]:
        found = self._entries.get((section, name))
        if found is None:
            there = ", ".join(sorted(one for kind, one in self._entries if kind == section)) or "none"
            raise self._malformed(f"{name} among {section}, as the context says", there)
        return found

    def access(self, context: str | None) -> Access:
        name = context or self._current
        there = ", ".join(sorted(one for kind, one in self._entries if kind == "contexts")) or "no contexts"
        if ("contexts", name) not in self._entries:
            raise _no_cluster(f"context {name or '(the current one)'} in {self._source}", there)
        chosen, _folder = self._entry("contexts", name)
        cluster, at = self._entry("clusters", str(chosen.get("cluster") or ""))
        user, home = self._entry("users", str(chosen["user"])) if chosen.get("user") else ({}, Path())
        server = str(cluster.get("server") or "")
        if not server.startswith(("https://", "http://")):
            raise self._malformed(f"`server` of cluster {chosen.get('cluster')} as a URL", server or "nothing")
        if unsupported := [key for key in _IMPERSONATION if user.get(key)]:
            raise self._malformed("a user who acts in his own name", f"`{unsupported[0]}` of user {chosen['user']}")
        plain = self._authorization(user, home)
        return Access(
            host=server.rstrip("/"),
            verify=not cluster.get("insecure-skip-tls-verify"),
            authority=self._pem(cluster, "certificate-authority", at),
            server_name=cluster.get("tls-server-name"),
            proxy=cluster.get("proxy-url"),
            certificate=self._pem(user, "client-certificate", home),
            key=self._pem(user, "client-key", home),
            files=os.pathsep.join(map(str, self._paths)),
            context=name,
            delegated=not plain and bool(user.get("exec") or user.get("auth-provider")),
            **plain,
        )

    def _authorization(self, user: Mapping[str, Any], home: Path) -> dict[str, Any]:
        if user.get("tokenFile"):
            return {"token_file": self._existing(home / str(user["tokenFile"]), "tokenFile")}
        if user.get("token"):
            return {"authorization": f"Bearer {user['token']}"}
        if user.get("username"):
            pair = f"{user['username']}:{user.get('password') or ''}"
            return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        return {}

    def _pem(self, entry: Mapping[str, Any], key: str, folder: Path) -> Path | bytes | None:
        if data := entry.get(f"{key}-data"):
            try:
                return base64.b64decode(str(data), validate=True)
            except (binascii.Error, ValueError) as error:
                raise self._malformed(f"base64 in `{key}-data`", str(error)) from error
        return self._existing(folder / str(entry[key]), key) if entry.get(key) else None

    def _existing(self, path: Path, key: str) -> Path:
        if not path.is_file():
            raise self._malformed(f"a file where `{key}` points", f"no file {path}")
        return path
