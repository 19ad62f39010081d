# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter to the libraries `urllib3` and `kubernetes`: TLS, tokens, connections.

`kubernetes` is imported only for credentials that programs or identity providers make: that takes most of a second.
Its typed models are not used at all: they drop fields that they do not know.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from ansible.module_utils.basic import missing_required_lib

from .errors import KubeError, Unreachable, from_answer
from .kubeconfig import Access, read_access
from .yamlio import YAML_IMPORT_ERROR

if TYPE_CHECKING:
    from .channels import Channels

try:
    import urllib3
    from urllib3.util.ssl_ import create_urllib3_context

    # `kubernetes` is what users install; these two come with it.
    KUBERNETES_IMPORT_ERROR: str | None = YAML_IMPORT_ERROR
except ImportError:
    KUBERNETES_IMPORT_ERROR = traceback.format_exc()

__all__ = ["KUBERNETES_IMPORT_ERROR", "Answer", "Session"]

USER_AGENT = "celeryops"
# pylint is told Python 3.9 by ansible-test; the oldest that runs this is 3.11.
Query = Mapping[str, Any] | Sequence[tuple[str, Any]] | None  # pylint: disable=unsupported-binary-operation


class Answer:
    """One HTTP answer: status, body and how many seconds the server asks to wait (None when it does not)."""

    def __init__(self, status: int, body: bytes, retry_after: float | None) -> None:
        self.status = status
        self.body = body
        self.retry_after = retry_after


class Session:
    """Connections to one API server as one user, kept open and reused."""

    def __init__(self, kubeconfig: str | None, context: str | None, timeout: float) -> None:
        if KUBERNETES_IMPORT_ERROR:
            raise _missing("kubernetes", KUBERNETES_IMPORT_ERROR)
        self._kubeconfig = kubeconfig
        self._context = context
        self.timeout = timeout
        self.renew()

    def renew(self) -> None:
        """Reads the credentials anew, as needed when a token has expired."""
        access = read_access(self._kubeconfig, self._context)
        self._authorization, certificate, key = _delegated(access) if access.delegated else _plain(access)
        self._tls = _tls(access, certificate, key) if access.host.startswith("https") else None
        self._server_name = access.server_name
        self._proxy = _proxy(access)
        options: dict[str, Any] = {"ssl_context": self._tls} if self._tls else {}
        if access.server_name:
            options["server_hostname"] = access.server_name
        # One connection per thread; retries are decided one level up, where it is known what may be repeated.
        options |= {"maxsize": 16, "retries": False}
        try:
            self._pool = urllib3.ProxyManager(self._proxy, **options) if self._proxy else urllib3.PoolManager(**options)
        except urllib3.exceptions.HTTPError as error:
            raise KubeError(
                "the proxy on the way to the API server cannot be used",
                expected="the URL of an HTTP proxy",
                found=str(error),
                remedy="correct `proxy-url` in the kubeconfig, or HTTPS_PROXY and NO_PROXY",
            ) from error
        _tell_handshakes(self._pool)
        self.host = access.host

    def _url(self, path: str, query: Query) -> str:
        return f"{self.host}{path}?{urlencode(query, doseq=True)}" if query else f"{self.host}{path}"

    def _headers(self, extra: Mapping[str, str]) -> dict[str, str]:
        headers = {"User-Agent": USER_AGENT, **extra}
        if authorization := self._authorization():
            headers["Authorization"] = authorization
        return headers

    def request(self, method: str, path: str, query: Query, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """One request, no retry. Raises Unreachable when no answer came."""
        try:
            response = self._pool.request(
                method,
                self._url(path, query),
                body=body,
                headers=self._headers({"Accept": "application/json", **headers}),
                timeout=urllib3.Timeout(connect=min(5.0, self.timeout), read=self.timeout),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            never_sent = (
                urllib3.exceptions.NewConnectionError,
                urllib3.exceptions.ConnectTimeoutError,
                urllib3.exceptions.ProxyError,
            )
            untrusted = isinstance(error.__context__, ssl.SSLCertVerificationError)
            raise Unreachable(str(error), sent=not isinstance(error, never_sent), final=untrusted) from error
        after = response.headers.get("Retry-After", "")
        return Answer(response.status, response.data, float(after) if after.isdigit() else None)

    def lines(self, path: str, query: Query, timeout: float) -> Iterator[bytes]:
        """The lines of an answer that comes bit by bit (a watch), until it ends or is silent for `timeout`."""
        try:
            response = self._pool.request(
                "GET",
                self._url(path, query),
                headers=self._headers({"Accept": "application/json"}),
                timeout=urllib3.Timeout(connect=min(5.0, self.timeout), read=timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            if response.status != 200:
                raise from_answer(f"GET {path}", response.status, response.read())
            try:
                rest = b""
                for chunk in response.stream():
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from whole
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(str(error), sent=True) from error

    def websocket(self, path: str, query: Query, protocols: Sequence[str], timeout: float) -> Channels:
        """Opens a stream of channels, as exec and port-forward use it."""
        # Few modules open one, and the library takes as long to import as all others here.
        from . import channels  # noqa: PLC0415

        if channels.WEBSOCKET_IMPORT_ERROR:
            raise _missing("websocket-client", channels.WEBSOCKET_IMPORT_ERROR)
        proxy = urlsplit(self._proxy) if self._proxy else None
        return channels.open_channels(
            self._url(path, query),
            # The API server answers 406 to a stream that asks for JSON.
            self._headers({}),
            protocols,
            timeout,
            tls=self._tls,
            server_name=self._server_name,
            proxy=(proxy.hostname, proxy.port) if proxy else None,
        )


def _tell_handshakes(manager: Any) -> None:
    """Has a server that does not come to the end of the TLS handshake told as one that was not reached.

    urllib3 raises the same for it as for an answer that does not come, when the request may have been acted on.
    """

    class Connection(urllib3.connection.HTTPSConnection):
        def connect(self) -> None:
            try:
                super().connect()
            except (TimeoutError, ConnectionError, ssl.SSLEOFError) as error:
                words = f"no TLS connection to {self.host}:{self.port}: {error}"
                raise urllib3.exceptions.NewConnectionError(self, words) from error

    class Pool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Connection

    manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": Pool}


def _missing(library: str, trace: str) -> KubeError:
    return KubeError(missing_required_lib(library), found=trace.strip().splitlines()[-1])


Credentials = tuple[Callable[[], "str | None"], "Path | bytes | None", "Path | bytes | None"]


def _plain(access: Access) -> Credentials:
    file = access.token_file
    if file is None:
        return lambda: access.authorization, access.certificate, access.key

    def read() -> str:
        # Whoever wrote the file may replace it at any time, as a kubelet does with a pod's token.
        try:
            return f"Bearer {file.read_text(encoding='ascii').strip()}"
        except (OSError, UnicodeDecodeError) as error:
            raise KubeError(
                f"the token for {access.host} cannot be read",
                expected=f"a bearer token in {file}",
                found=str(error),
                remedy="correct `tokenFile` in the kubeconfig, or the file",
            ) from error

    return read, access.certificate, access.key


def _delegated(access: Access) -> Credentials:
    """Credentials that the library gets from a program or an identity provider, and renews before they expire."""
    try:
        import kubernetes.client  # noqa: PLC0415 - only these users need it
        import kubernetes.config  # noqa: PLC0415
    except ImportError:
        raise _missing("kubernetes", traceback.format_exc()) from None
    config = kubernetes.client.Configuration()
    found = "neither a token nor a certificate; a program's own words are on standard error"
    try:
        kubernetes.config.load_kube_config(
            config_file=access.files,
            context=access.context,
            client_configuration=config,
            persist_config=False,
        )
    except kubernetes.config.ConfigException as error:
        found = str(error)
    if not config.api_key and not config.cert_file:
        raise KubeError(
            f"there are no credentials for context {access.context}",
            expected="a token or a certificate from the kubeconfig's `exec` program or `auth-provider`",
            found=found,
            remedy="run the program by hand, sign in anew, or use another context",
        )
    certificate, key = (Path(one) if one else None for one in (config.cert_file, config.key_file))
    # Asking for the key runs the library's own refresh of tokens that expire.
    return lambda: config.get_api_key_with_prefix("BearerToken"), certificate, key


def _tls(access: Access, certificate: Path | bytes | None, key: Path | bytes | None) -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    try:
        if not access.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif access.authority is None:
            context.load_default_certs()
        elif isinstance(access.authority, Path):
            context.load_verify_locations(cafile=access.authority)
        else:
            context.load_verify_locations(cadata=access.authority.decode("ascii"))
        if certificate is not None:
            with contextlib.ExitStack() as stack:
                files = [stack.enter_context(_as_file(one)) for one in (certificate, key) if one is not None]
                context.load_cert_chain(*files)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise KubeError(
            f"the certificates for {access.host} cannot be used",
            expected="certificates and their key in PEM",
            found=str(error),
            remedy="correct them in the kubeconfig",
        ) from error
    return context


@contextlib.contextmanager
def _as_file(pem: Path | bytes) -> Iterator[str]:
    """OpenSSL takes a client's certificate and key from files only; what was none before is gone right after."""
    if isinstance(pem, Path):
        yield str(pem)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        yield file.name


def _proxy(access: Access) -> str | None:
    """The proxy of the kubeconfig, or of the environment unless that excepts the server."""
    if access.proxy:
        return access.proxy
    name = urlsplit(access.host).scheme + "_proxy"
    proxy = os.environ.get(name) or os.environ.get(name.upper())
    excepted = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    if proxy and excepted:
        try:
            from requests.utils import should_bypass_proxies  # noqa: PLC0415 - it takes long, and only proxies need it
        except ImportError:
            raise _missing("requests", traceback.format_exc()) from None
        if should_bypass_proxies(access.host, no_proxy=excepted):
            return None
    return proxy or None
