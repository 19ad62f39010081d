# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines and environments of the builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.model import Base, Go

__all__ = ["bootstrap", "build_image", "buildah", "compile_go", "go_environment", "pip_install"]

_DECIDES = ("GOROOT", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG", "GOTOOLDIR")


def go_environment(environ: Mapping[str, str], cache: str) -> dict[str, str]:
    """The user's environment (proxy, mirror, certificates) with what decides the result set by us."""
    kept = {k: v for k, v in environ.items() if k not in _DECIDES}
    return {
        **kept,
        "CGO_ENABLED": "0",
        # not empty: an empty value would let a line of the user's `go env -w` through
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
        "GOMODCACHE": f"{cache}/go/mod",
        "GOCACHE": f"{cache}/go/build",
    }


def compile_go(program: str, spec: Go, version: str, out: str) -> list[str]:
    """Builds every ``tool`` of the module in the current folder into the folder ``out``."""
    number = version.removeprefix("v")
    major, minor, *_rest = [*number.split("."), "0", "0"]
    names = {"version": version, "number": number, "major": major, "minor": minor}
    ldflags = " ".join(flag.format(**names) for flag in spec.ldflags)
    # -modcacherw: a module cache that its owner may delete like any other folder
    flags = ["-v", "-trimpath", "-mod=readonly", "-modcacherw", "-buildvcs=false", f"-ldflags={ldflags}"]
    return [program, "build", *flags, "-o", f"{out}/", "tool"]


def bootstrap(spec: Base, target: str, *, sources: str, apt_conf: str) -> list[str]:
    """mmdebstrap of a suite into the tar archive ``target``.

    Documentation and translations stay out of it and of all that is installed on top. The host's apt settings
    and mirror serve the build and are then taken out again: they may name a proxy with its password.
    """
    unwanted = ("doc/*", "man/*", "info/*", "locale/*", "lintian/*", "linda/*")
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{path}" for path in unwanted]
    include = [f"--include={','.join(spec.packages)}"] if spec.packages else []
    return [
        "mmdebstrap",
        f"--variant={spec.variant}",
        *excluded,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        *([f"--aptopt={apt_conf}"] if apt_conf else []),
        *include,
        '--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap',
        *(['--customize-hook=rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*'] if sources else []),
        *spec.options,
        spec.suite,
        target,
        *([sources] if sources else []),
    ]


def buildah(storage: str, *arguments: str) -> list[str]:
    """buildah on a storage of our own: vfs makes no mounts, so none is left behind."""
    return [
        "buildah",
        "--root",
        f"{storage}/root",
        "--runroot",
        f"{storage}/run",
        "--storage-driver",
        "vfs",
        *arguments,
    ]


def build_image(
    storage: str,
    *,
    reference: str,
    containerfile: str,
    context: str,
    arguments: Mapping[str, str],
    volumes: Sequence[str],
    labels: Mapping[str, str],
) -> list[str]:
    """A build with chroot isolation, which needs neither a runtime nor cgroups; no image is ever pulled."""
    return buildah(
        storage,
        "bud",
        "--isolation",
        "chroot",
        "--pull-never",
        "--format",
        "docker",
        *[f"--build-arg={k}={v}" for k, v in sorted(arguments.items())],
        *[f"--volume={v}" for v in volumes],
        *[f"--label={k}={v}" for k, v in sorted(labels.items())],
        "--tag",
        reference,
        "--file",
        containerfile,
        context,
    )


def pip_install(python: str, target: str, requirements: str) -> list[str]:
    """pip of the given interpreter, installing what a hashed requirements file names into a folder."""
    return [
        python,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--no-compile",
        "--target",
        target,
        "--requirement",
        requirements,
    ]
