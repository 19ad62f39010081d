# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module k3s_release against a release site on loopback that does everything such a site can do to a download."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from helpers.modules import run_module
from helpers.release_site import Proxy, Site, proxy, site

VERSION = "v1.33.4+k3s1"
BINARY = bytes(range(256)) * 400
SHA256 = hashlib.sha256(BINARY).hexdigest()
LOGIN = {"username": "me", "password": "secret"}
PATH = f"/download/{VERSION}/k3s"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as started:
        started.release(VERSION, {"k3s": BINARY, "k3s-airgap-images-amd64.tar.zst": b"images"})
        started.release(VERSION, {"k3s-arm64": b"arm"}, "arm64")
        yield started


@pytest.fixture
def forward() -> Iterator[Proxy]:
    with proxy() as started:
        yield started


def release(place: Site, dest: Path, *, check: bool = False, **options: Any) -> dict[str, Any]:
    args = {"version": VERSION, "architecture": "amd64", "dest": str(dest), "url": place.url, **options}
    return run_module("k3s_release", args, check=check)


@pytest.mark.parametrize("pin", [SHA256, ""])
def test_a_release_is_fetched_once(place: Site, tmp_path: Path, pin: str) -> None:
    dest = tmp_path / "bin/k3s"
    outcomes = [release(place, dest, check=check, sha256=pin) for check in (True, False, True, False)]
    assert [outcome["changed"] for outcome in outcomes] == [True, True, False, False]
    assert [outcome["received"] for outcome in outcomes] == [0, len(BINARY), 0, 0]
    assert {(outcome["sha256"], outcome["pinned"]) for outcome in outcomes} == {(SHA256, bool(pin))}
    assert dest.read_bytes() == BINARY
    assert dest.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in dest.parent.iterdir()] == ["k3s"]
    assert [path for path, _range in place.asked].count(PATH) == 1
    # With a pin the site is not asked again for what is there.
    assert len(place.asked) == (1 if pin else 5)


def test_what_was_changed_by_hand_is_replaced(place: Site, tmp_path: Path) -> None:
    dest = tmp_path / "k3s"
    release(place, dest)
    dest.write_bytes(b"something else")
    assert release(place, dest, sha256=SHA256)["changed"]
    assert dest.read_bytes() == BINARY
    dest.chmod(0o600)
    assert release(place, dest, sha256=SHA256, check=True)["changed"]
    assert release(place, dest, sha256=SHA256)["changed"]
    assert dest.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("kind", "architecture", "content"), [("images", "amd64", b"images"), ("binary", "arm64", b"arm")]
)
def test_the_other_files_of_a_release(
    place: Site, tmp_path: Path, kind: str, architecture: str, content: bytes
) -> None:
    dest = tmp_path / "file"
    assert release(place, dest, kind=kind, architecture=architecture, mode="0644")["changed"]
    assert dest.read_bytes() == content
    assert dest.stat().st_mode & 0o777 == 0o644


def test_a_broken_transfer_is_taken_up_within_a_run(place: Site, tmp_path: Path) -> None:
    place.cuts[PATH] = [1000, 500]
    result = release(place, tmp_path / "k3s", sha256=SHA256)
    assert (result["received"], result["resumed_at"]) == (len(BINARY), 0)
    assert place.asked == [(PATH, ""), (PATH, "bytes=1000-"), (PATH, "bytes=1500-")]
    assert (tmp_path / "k3s").read_bytes() == BINARY


def test_a_broken_transfer_is_taken_up_by_the_next_run(place: Site, tmp_path: Path) -> None:
    place.cuts[PATH] = [1000]
    failed = release(place, tmp_path / "k3s", sha256=SHA256, attempts=1)
    assert failed["failed"]
    assert f"ended after 1000 of {len(BINARY)} bytes" in failed["msg"]
    assert not (tmp_path / "k3s").exists()
    result = release(place, tmp_path / "k3s", sha256=SHA256)
    assert (result["received"], result["resumed_at"]) == (len(BINARY) - 1000, 1000)
    assert (tmp_path / "k3s").read_bytes() == BINARY


def test_a_site_that_cannot_go_on_begins_anew(place: Site, tmp_path: Path) -> None:
    place.ranges = False
    place.cuts[PATH] = [1000]
    assert release(place, tmp_path / "k3s", sha256=SHA256)["received"] == len(BINARY) + 1000
    assert (tmp_path / "k3s").read_bytes() == BINARY


@pytest.mark.parametrize("rest", [b"of another file", BINARY + b"and more", BINARY[:-1] + b"?"])
def test_a_rest_that_belongs_to_something_else_is_thrown_away(place: Site, tmp_path: Path, rest: bytes) -> None:
    (tmp_path / f".k3s.{VERSION}.part").write_bytes(rest)
    assert release(place, tmp_path / "k3s", sha256=SHA256)["changed"]
    assert (tmp_path / "k3s").read_bytes() == BINARY


def test_a_rest_that_is_whole_is_used(place: Site, tmp_path: Path) -> None:
    (tmp_path / f".k3s.{VERSION}.part").write_bytes(BINARY)
    assert release(place, tmp_path / "k3s", sha256=SHA256)["received"] == 0
    assert (tmp_path / "k3s").read_bytes() == BINARY


def test_a_wrong_checksum_installs_nothing(place: Site, tmp_path: Path) -> None:
    result = release(place, tmp_path / "k3s", sha256="0" * 64)
    assert result["failed"]
    assert result["error"]["expected"] == f"SHA-256 {'0' * 64}"
    assert SHA256 in result["error"]["found"]
    assert "k3s_checksums" in result["error"]["remedy"]
    assert list(tmp_path.iterdir()) == []
    # It is not asked twice for what it delivers wrongly.
    assert len(place.asked) == 1


def test_an_installed_program_survives_a_wrong_download(place: Site, tmp_path: Path) -> None:
    (tmp_path / "k3s").write_bytes(b"the old one")
    place.files[PATH] = b"not what the list says"
    assert release(place, tmp_path / "k3s")["failed"]
    assert (tmp_path / "k3s").read_bytes() == b"the old one"


def test_a_list_of_checksums_without_the_file(place: Site, tmp_path: Path) -> None:
    place.files[f"/download/{VERSION}/sha256sum-amd64.txt"] = b"<html>log in first</html>\n"
    result = release(place, tmp_path / "k3s")
    assert result["failed"]
    assert result["error"]["found"] == "no checksum"


def test_redirects_are_followed_without_the_password(place: Site, tmp_path: Path) -> None:
    with site() as storage:
        storage.files["/store/k3s"] = BINARY
        place.login = f"Basic {base64.b64encode(b'me:secret').decode()}"
        place.redirects[PATH] = f"http://localhost:{storage.port}/store/k3s"
        storage.cuts["/store/k3s"] = [1000]
        result = release(place, tmp_path / "k3s", **LOGIN)
        assert result["changed"]
        assert storage.asked == [("/store/k3s", ""), ("/store/k3s", "bytes=1000-")]
        assert storage.logins == ["", ""]
        assert set(place.logins) == {place.login}
    assert (tmp_path / "k3s").read_bytes() == BINARY


def test_a_mirror_that_wants_a_password(place: Site, tmp_path: Path) -> None:
    place.login = f"Basic {base64.b64encode(b'me:secret').decode()}"
    refused = release(place, tmp_path / "k3s", **{**LOGIN, "password": "wrong-one"})
    assert "HTTP 401" in refused["msg"]
    assert "k3s_release_password" in refused["msg"]
    assert "wrong-one" not in json.dumps(refused)
    assert release(place, tmp_path / "k3s", **LOGIN)["changed"]


def test_a_slow_site_is_waited_for_and_a_silent_one_is_not(place: Site, tmp_path: Path) -> None:
    slow = f"/download/{VERSION}/k3s-airgap-images-amd64.tar.zst"
    place.drips.add(slow)
    assert release(place, tmp_path / "images", kind="images")["received"] == 6
    place.stalls[PATH] = 100
    result = release(place, tmp_path / "k3s", sha256=SHA256, timeout=1, attempts=2)
    assert result["failed"]
    assert "no byte in time, after 200 bytes" in result["msg"]
    assert (tmp_path / f".k3s.{VERSION}.part").read_bytes() == BINARY[:200]


def test_a_version_that_is_not_there(place: Site, tmp_path: Path) -> None:
    result = release(place, tmp_path / "k3s", version="v1.99.0+k3s1")
    assert result["failed"]
    assert "HTTP 404" in result["error"]["found"]
    assert "v1.99.0%2Bk3s1/sha256sum-amd64.txt" in result["error"]["expected"]
    assert len(place.asked) == 1


def test_an_error_of_the_site_is_met_with_another_attempt(place: Site, tmp_path: Path) -> None:
    place.statuses[PATH] = [503]
    assert release(place, tmp_path / "k3s", sha256=SHA256)["changed"]
    place.statuses[PATH] = [503, 502]
    failed = release(place, tmp_path / "other", sha256=SHA256, attempts=2)
    assert "HTTP 502" in failed["msg"]


def test_nobody_listens(tmp_path: Path) -> None:
    with site() as gone:
        pass
    result = release(gone, tmp_path / "k3s", sha256=SHA256)
    assert result["failed"]
    assert "refused" in result["msg"]


@pytest.mark.parametrize("given", ["parameter", "environment"])
def test_through_a_proxy(
    place: Site, forward: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    forward.login = f"Basic {base64.b64encode(b'me:secret').decode()}"
    address = forward.url.replace("//", "//me:secret@")
    options = {"proxy": address}
    if given == "environment":
        monkeypatch.setenv("http_proxy", address)
        options = {}
    result = release(place, tmp_path / "k3s", sha256=SHA256, **options)
    assert result["changed"]
    assert forward.asked == [("GET", f"{place.url}/{VERSION.replace('+', '%2B')}/k3s")]
    assert "secret" not in json.dumps(result)


def test_a_proxy_that_wants_a_password(place: Site, forward: Proxy, tmp_path: Path) -> None:
    forward.login = "Basic something"
    result = release(place, tmp_path / "k3s", proxy=forward.url)
    assert "HTTP 407" in result["error"]["found"]
    assert "k3s_proxy" in result["error"]["remedy"]


def test_no_proxy_for_a_site_nearby(
    place: Site, forward: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert release(place, tmp_path / "k3s", proxy=forward.url)["changed"]
    assert forward.asked == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a release site")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "site.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_https_through_a_proxy(
    certificate: Path, forward: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(certificate) as place:
        place.release(VERSION, {"k3s": BINARY})
        refused = release(place, tmp_path / "k3s", proxy=forward.url)
        assert "certificate" in refused["msg"].lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert release(place, tmp_path / "k3s", proxy=forward.url)["changed"]
        assert forward.asked[-1] == ("CONNECT", f"127.0.0.1:{place.port}")
        assert (tmp_path / "k3s").read_bytes() == BINARY


def test_no_redirect_away_from_https(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with site() as plain, site(certificate) as place:
        plain.files["/k3s"] = BINARY
        place.redirects[PATH] = f"http://127.0.0.1:{plain.port}/k3s"
        result = release(place, tmp_path / "k3s", sha256=SHA256)
        assert "redirects to an unencrypted address" in result["msg"]
        assert plain.asked == []


def test_a_bundle_is_verified_where_it_is(place: Site, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "k3s").write_bytes(BINARY)
    options = {"bundle": str(bundle)}
    lacks = release(place, tmp_path / "k3s", **options)
    assert "lacks a file" in lacks["msg"]
    assert "a line for k3s" in lacks["error"]["expected"]
    (bundle / "sha256sum-amd64.txt").write_text(f"{SHA256} *dist/artifacts/k3s\n")
    results = [release(place, tmp_path / "k3s", check=check, **options) for check in (True, False)]
    assert [result["changed"] for result in results] == [False, False]
    assert {(result["dest"], result["sha256"]) for result in results} == {(str(bundle / "k3s"), SHA256)}
    assert "lacks a file" in release(place, tmp_path / "x", kind="images", **options)["msg"]
    wrong = release(place, tmp_path / "k3s", sha256="0" * 64, **options)
    assert wrong["error"]["found"] == f"SHA-256 {SHA256}"
    assert place.asked == []
    assert not (tmp_path / "k3s").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": "1.33.4+k3s1"}, "it lacks the leading v"),
        ({"version": "v1.33.4"}, "it lacks +k3s1 at its end"),
        ({"version": "stable"}, "channels such as stable move"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"url": "ftp://mirror.example.org"}, "a URL that begins with https://"),
        ({"url": "https://me:secret@mirror.example.org"}, "found: https://mirror.example.org"),
        ({"architecture": "sparc"}, "value of architecture must be one of: amd64, arm64"),
    ],
)
def test_bad_input(place: Site, tmp_path: Path, options: dict[str, str], said: str) -> None:
    result = release(place, tmp_path / "k3s", **options)
    assert result["failed"]
    assert said in result["msg"]
    assert place.asked == []
    assert list(tmp_path.iterdir()) == []
