# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's formats: tokens, registries, releases."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from standins.k3s.k3s_standin.containerd import hosts_files
from standins.k3s.k3s_standin.processes import Fatal
from standins.k3s.k3s_standin.release import Release
from standins.k3s.k3s_standin.tokens import Token, TokenError, ca_hash, parse_token
from standins.k3s.pack import pack, zstd_frames

PEM = b"-----BEGIN CERTIFICATE-----\nnot a real one\n-----END CERTIFICATE-----\n"


def test_a_token_in_secure_form_is_read_back_as_it_was_written() -> None:
    text = Token("secret").full(ca_hash(PEM))
    assert text == f"K10{hashlib.sha256(PEM).hexdigest()}::server:secret"
    assert parse_token(text) == Token("secret", "server", ca_hash(PEM))
    assert parse_token("secret") == Token("secret")
    assert parse_token(text).key == parse_token("secret").key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "token must not be empty"),
        ("K10abc::server:secret", "invalid token CA hash length"),
        ("K10::server", "invalid token format"),
        ("K10::server:", "invalid token format"),
    ],
)
def test_a_malformed_token_is_refused_in_k3s_words(text: str, words: str) -> None:
    with pytest.raises(TokenError, match=words):
        parse_token(text)


def test_a_token_of_another_cluster_is_refused_in_k3s_words() -> None:
    token = parse_token(f"K10{'0' * 64}::server:secret")
    with pytest.raises(TokenError, match=f"does not match the Cluster CA certificate hash: {'0' * 64} != "):
        token.check_ca(PEM)
    parse_token("secret").check_ca(PEM)


def test_only_the_right_user_and_password_are_allowed() -> None:
    token = Token("secret")
    assert token.allows("server", "secret", ("server",))
    assert not token.allows("node", "secret", ("server",))
    assert not token.allows("server", "Secret", ("server",))


def test_registries_become_hosts_files() -> None:
    registries = {
        "mirrors": {
            "docker.io": {"endpoint": ["https://mirror.example:5000"]},
            "*": {"endpoint": ["http://all.example"]},
        },
        "configs": {"mirror.example:5000": {"tls": {"ca_file": "/ca.pem", "insecure_skip_verify": True}}},
    }
    files = hosts_files(registries)
    assert files["docker.io"] == (
        'server = "https://registry-1.docker.io"\n[host."https://mirror.example:5000"]\n'
        '  capabilities = ["pull", "resolve"]\n  skip_verify = true\n  ca = "/ca.pem"\n'
    )
    assert files["_default"].startswith('[host."http://all.example"]')
    assert hosts_files(registries, fallback=False)["docker.io"].startswith('server = "https://mirror.example:5000"\n')


@pytest.mark.parametrize(
    "registries",
    [
        {"mirror": {}},
        {"mirrors": {"docker.io": {"endpoints": []}}},
        {"configs": {"x": {"auth": {"user": "a"}}}},
        {"configs": {"x": {"tls": {"ca": "a"}}}},
    ],
)
def test_an_undocumented_key_of_registries_is_refused(registries: dict[str, object]) -> None:
    with pytest.raises(Fatal, match="unknown key"):
        hosts_files(registries)


def archive(path: Path, layers: dict[str, bytes], reference: str) -> str:
    """A docker archive with these layers."""
    manifest = [{"Config": f"{reference}.json", "RepoTags": [reference], "Layers": list(layers)}]
    with tarfile.open(path, "w") as tar:
        for name, content in {**layers, "manifest.json": json.dumps(manifest).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def unframed(content: bytes) -> bytes:
    """What a zstd frame of raw blocks holds."""
    assert content.startswith(b"\x28\xb5\x2f\xfd\x00\x38")
    position, found, last = 6, b"", False
    while not last:
        header = int.from_bytes(content[position : position + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        assert kind == 0
        found += content[position + 3 : position + 3 + size]
        position += 3 + size
    assert position == len(content)
    return found


def test_raw_frames_hold_what_was_put_in() -> None:
    for size in (0, 1, 128 * 1024, 128 * 1024 + 1, 300_000):
        content = bytes(index % 251 for index in range(size))
        assert unframed(b"".join(zstd_frames(content))) == content


def test_a_release_runs_and_says_its_version_and_its_bundle_holds_every_image(tmp_path: Path) -> None:
    images = {
        "one": {"reference": "one:1", "archive": archive(tmp_path / "one.tar", {"base": b"b", "a": b"a"}, "one:1")},
        "two": {"reference": "two:1", "archive": archive(tmp_path / "two.tar", {"base": b"b"}, "two:1")},
    }
    program, bundle, names, sums = pack(tmp_path / "release", "v1.2.3+k3s1", {"kubectl": "/bin/echo"}, images)
    assert run(program, "--version").stdout.splitlines()[0] == "k3s version v1.2.3+k3s1 (standin)"
    assert run(program, "kubectl", "get", "nodes").stdout == "get nodes\n"
    refused = run(program, "check-config")
    assert (refused.returncode, "No help topic for 'check-config'" in refused.stderr) == (1, True)
    with tarfile.open(fileobj=io.BytesIO(unframed(bundle.read_bytes()))) as tar:
        assert sorted(tar.getnames()) == ["a", "base", "manifest.json"]
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        assert [each["RepoTags"] for each in json.load(manifest)] == [["one:1"], ["two:1"]]
    assert names.read_text() == "one:1\ntwo:1\n"
    for line in sums.read_text().splitlines():
        digest, name = line.split()
        assert digest == hashlib.sha256((tmp_path / "release" / name).read_bytes()).hexdigest()
    again = pack(tmp_path / "again", "v1.2.3+k3s1", {"kubectl": "/bin/echo"}, images)
    assert again[0].read_bytes() == program.read_bytes()


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(program), *arguments], capture_output=True, text=True, check=False)


def test_programs_are_staged_where_k3s_unpacks_its_own(tmp_path: Path) -> None:
    release = Release("v1", {"containerd-shim-runc-v2": "/somewhere/shim"}, {})
    folder = release.stage(tmp_path)
    assert (folder / "containerd-shim-runc-v2").readlink() == Path("/somewhere/shim")
    assert folder.parent.parent == tmp_path / "data"
    assert (tmp_path / "data/current").resolve() == folder.parent
    changed = Release("v1", {"containerd-shim-runc-v2": "/elsewhere/shim"}, {}).stage(tmp_path)
    assert changed != folder
    assert (tmp_path / "data/current").resolve() == changed.parent
