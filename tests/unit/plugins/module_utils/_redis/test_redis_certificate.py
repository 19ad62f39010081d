# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether clients would accept a certificate, with certificates that openssl has made."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path

import pytest
from helpers.certificates import authority, certify

from ansible_collections.celeryops.platform.plugins.module_utils._redis.certificate import KEYS, Verdict, examine

ROOT = Path(__file__).resolve().parents[5]
END = "shop.svc.cluster.local"
NAMES = [f"redis-master.{END}", f"redis-0.redis-headless.{END}", f"redis-2.redis-headless.{END}"]
SAID = (f"DNS:redis-master.{END}", f"DNS:*.redis-headless.{END}")


def data(folder: Path) -> dict[str, bytes]:
    return {key: (folder / key).read_bytes() for key in KEYS}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return data(certify(authority(tmp_path_factory.mktemp("good")), SAID))


def only(verdict: Verdict) -> tuple[str, str]:
    (fault,) = verdict.faults
    assert fault.remedy
    return fault.expected, fault.found


def test_a_good_one_tells_its_names_and_its_end(good: dict[str, bytes]) -> None:
    verdict = examine(good, NAMES)
    assert (verdict.faults, verdict.later) == ((), "")
    assert verdict.names == (f"redis-master.{END}", f"*.redis-headless.{END}")
    assert verdict.expires.endswith(" GMT")


def test_names_that_it_is_not_for_are_told_beside_those_that_it_is_for(good: dict[str, bytes]) -> None:
    # A star is one label, and a dot at the end makes another name.
    wrong = [f"redis.{END}", f"a.b.redis-headless.{END}", f"{NAMES[0]}."]
    expected, found = only(examine(good, [*NAMES, *wrong]))
    assert expected == f"a certificate for {', '.join(wrong)}"
    assert found == f"one for redis-master.{END}, *.redis-headless.{END}"


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_missing(good: dict[str, bytes], key: str) -> None:
    rest = {name: value for name, value in good.items() if name != key}
    assert only(examine(rest, NAMES)) == ("keys tls.crt, tls.key, ca.crt", f"keys {', '.join(sorted(rest))}")
    assert only(examine({**good, key: b""}, NAMES))[0] == "keys tls.crt, tls.key, ca.crt"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [b"no PEM", "no ASCII: ö".encode(), b"x" * 10**6], ids=["text", "bytes", "large"])
def test_what_is_no_pem(good: dict[str, bytes], key: str, value: bytes) -> None:
    expected, found = only(examine({**good, key: value}, NAMES))
    assert expected.startswith("PEM in all of them")
    assert found


def test_another_authority(good: dict[str, bytes], tmp_path: Path) -> None:
    other = (authority(tmp_path) / "ca.crt").read_bytes()
    assert "that ca.crt has signed" in only(examine({**good, "ca.crt": other}, NAMES))[0]
    # As in the time in which one replaces the other.
    assert examine({**good, "ca.crt": other + good["ca.crt"]}, NAMES).faults == ()


def test_another_key(good: dict[str, bytes], tmp_path: Path) -> None:
    other = (certify(authority(tmp_path), SAID) / "tls.key").read_bytes()
    expected, found = only(examine({**good, "tls.key": other}, NAMES))
    assert "the private key of tls.crt" in expected
    assert found == "key values mismatch"


def test_a_key_with_a_passphrase_is_not_asked_for_at_the_terminal(good: dict[str, bytes]) -> None:
    words = ["openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:secret"]
    locked = subprocess.run(words, input=good["tls.key"], capture_output=True, check=True).stdout
    expected, found = only(examine({**good, "tls.key": locked}, NAMES))
    assert "without a passphrase" in expected
    assert "secret" not in found


def test_an_old_one(tmp_path: Path) -> None:
    expected, found = only(examine(data(certify(authority(tmp_path), SAID, days=-1)), NAMES))
    assert "that holds now" in expected
    assert found == "certificate has expired"


def test_what_only_stricter_clients_refuse_is_no_fault(tmp_path: Path) -> None:
    folder = certify(authority(tmp_path, usage=False), SAID)
    verdict = examine(data(folder), NAMES)
    assert verdict.faults == ()
    assert "key usage" in verdict.later


def test_what_the_guide_makes_by_hand_is_accepted(tmp_path: Path) -> None:
    """Its lines as they stand there, with a kubectl that only looks whether it is given files that exist."""
    page = (ROOT / "docs/docsite/rst/redis.rst").read_text(encoding="utf-8")
    text = textwrap.dedent(page.partition("The same by hand:")[2].partition(".. code-block:: shell\n")[2])
    lines = text.partition("\n\nBefore anything")[0]
    assert lines.count("openssl") == 3
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        '#!/bin/sh\nshift 6\nfor word; do cat "${word#--from-file=}" || exit 1; done\n', encoding="utf-8"
    )
    kubectl.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["/bin/sh", "-euc", lines], cwd=tmp_path, env={"PATH": path}, check=True, capture_output=True)
    names = [*NAMES, f"redis.{END}", *(f"redis-sentinel-{number}.redis-sentinel.{END}" for number in range(3))]
    verdict = examine(data(tmp_path), [name.replace("shop.", "jewelry-shop.", 1) for name in names])
    assert (verdict.faults, verdict.later) == ((), "")
