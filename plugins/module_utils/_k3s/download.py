# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches a file over HTTP that may take several attempts, and goes on where an earlier attempt stopped."""

from __future__ import annotations

import base64
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Client", "Fetched", "shown"]

_BLOCK = 1 << 20
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Fetched:
    """``received`` bytes came over the network, after ``resumed_at`` bytes that were there already."""

    received: int
    resumed_at: int


def shown(url: str) -> str:
    """A URL as it may appear in a message: without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but neither from HTTPS to HTTP nor with credentials to another host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, new.scheme) == ("https", "http"):
            raise CeleryOpsError(
                f"{shown(req.full_url)} redirects to an unencrypted address",
                expected="a redirect to https",
                found=shown(newurl),
                remedy="correct the mirror, or name the other address in k3s_release_url",
            )
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and old.netloc != new.netloc:
            following.remove_header("Authorization")
        return following


class Client:
    """HTTP through a proxy: ``proxy``, or what the environment names; no_proxy counts in both cases.

    ``login`` is user and password for the site; neither is sent to a host that the site redirects to.
    ``timeout``: seconds without a single byte. ``attempts``: how often a transfer that broke off is taken up again.
    """

    def __init__(
        self, *, proxy: str = "", login: tuple[str, str] | None = None, timeout: float = 30, attempts: int = 3
    ) -> None:
        proxies: Mapping[str, str] | None = {"http": proxy, "https": proxy} if proxy else None
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(dict(proxies) if proxies is not None else None), _Redirect
        )
        self._login = login
        self._timeout = timeout
        self._attempts = attempts

    def text(self, url: str, *, what: str) -> str:
        """A small file."""
        problem = ""
        for _attempt in range(self._attempts):
            try:
                with self._open(url, 0, what) as response:
                    return str(response.read().decode("utf-8", errors="replace"))
            except (OSError, http.client.HTTPException) as error:
                problem = _reason(error)
        raise self._unreachable(url, what, problem)

    def file(self, url: str, part: Path, *, what: str) -> Fetched:
        """Appends to ``part`` until it is whole. What arrived stays there when the transfer fails."""
        start = part.stat().st_size if part.exists() else 0
        received = 0
        problem = ""
        for _attempt in range(self._attempts):
            at = part.stat().st_size if part.exists() else 0
            try:
                with self._open(url, at, what) as response:
                    if response.status == http.client.PARTIAL_CONTENT:
                        mode = "ab"
                    else:
                        mode, at, start = "wb", 0, 0
                    expected = response.headers.get("Content-Length")
                    wanted = None if expected is None else at + int(expected)
                    with part.open(mode) as out:
                        # read1 keeps what arrived before a pause that was too long.
                        while block := response.read1(_BLOCK):
                            out.write(block)
                            received += len(block)
                    size = part.stat().st_size
                    if wanted is None or size >= wanted:
                        return Fetched(received, start)
                    problem = f"the connection ended after {size} of {wanted} bytes"
            except urllib.error.HTTPError as error:
                if error.code != _RANGE_NOT_SATISFIABLE:
                    problem = _reason(error)
                    continue
                # Nothing follows what is there: it is whole, or not from this file. Its checksum decides.
                return Fetched(received, start)
            except (OSError, http.client.HTTPException) as error:
                size = part.stat().st_size if part.exists() else 0
                problem = f"{_reason(error)}, after {size} bytes"
        raise self._unreachable(url, what, problem)

    def _open(self, url: str, at: int, what: str) -> Any:
        headers = {"User-Agent": "celeryops-k3s", "Accept-Encoding": "identity"}
        if self._login is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(':'.join(self._login).encode()).decode()}"
        if at:
            headers["Range"] = f"bytes={at}-"
        # The scheme is one of two: release.py has checked it.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            if error.code == _RANGE_NOT_SATISFIABLE or error.code >= 500:
                raise
            raise _refused(url, what, error) from error

    def _unreachable(self, url: str, what: str, problem: str) -> CeleryOpsError:
        return CeleryOpsError(
            f"{what} could not be downloaded",
            expected=f"all of {shown(url)} in {self._attempts} attempts, with no pause of {self._timeout:g} s",
            found=problem,
            remedy="see whether the site is reachable from here, and k3s_proxy and k3s_release_url; "
            "the next run goes on with what has arrived",
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    reason = getattr(error, "reason", None) or error
    return "no byte in time" if isinstance(reason, TimeoutError) else str(reason) or type(error).__name__


def _refused(url: str, what: str, error: urllib.error.HTTPError) -> CeleryOpsError:
    remedies = {
        404: "see whether k3s_version is a release, and whether the mirror in k3s_release_url carries it",
        401: "give k3s_release_username and k3s_release_password",
        403: "see whether this machine may read the mirror in k3s_release_url",
        407: "give user and password in k3s_proxy",
    }
    return CeleryOpsError(
        f"{what} is not to be had",
        expected=f"HTTP 200 for {shown(url)}",
        found=f"HTTP {error.code} {error.reason}",
        remedy=remedies.get(error.code, "see what the site says of this address"),
    )
