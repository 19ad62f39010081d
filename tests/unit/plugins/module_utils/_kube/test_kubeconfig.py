# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading kubeconfigs. That a server accepts what was read is for tests/integration/test_kube_credentials.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError, NoClusterError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.kubeconfig import Access, read_access

Json = dict[str, Any]


def written(folder: Path, user: Json | None = None, cluster: Json | None = None, **change: Any) -> Path:
    content = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
        "clusters": [{"name": "one", "cluster": {"server": "https://example.com:6443/", **(cluster or {})}}],
        "users": [{"name": "me", "user": user or {}}],
        **change,
    }
    path = folder / "config"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def read(path: Path, context: str | None = None) -> Access:
    return read_access(str(path), context, {})


def test_a_user_and_password_are_basic_authorization(tmp_path: Path) -> None:
    access = read(written(tmp_path, {"username": "Aladdin", "password": "open sesame"}))
    assert access.authorization == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert access.host == "https://example.com:6443"


@pytest.mark.parametrize(
    ("user", "delegated"),
    [
        ({}, False),
        ({"token": "t"}, False),
        ({"exec": {"command": "login"}}, True),
        ({"auth-provider": {"name": "oidc"}}, True),
        ({"exec": {"command": "login"}, "token": "t"}, False),
    ],
)
def test_only_what_has_to_be_fetched_is_left_to_the_library(tmp_path: Path, user: Json, delegated: bool) -> None:
    assert read(written(tmp_path, user)).delegated is delegated


def test_a_context_needs_no_user(tmp_path: Path) -> None:
    path = written(tmp_path, contexts=[{"name": "here", "context": {"cluster": "one"}}])
    assert read(path).authorization is None


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        ({"users": []}, "me among users, as the context says", "none"),
        ({"clusters": []}, "one among clusters, as the context says", "none"),
        ({"users": [{"user": {}}]}, "`name` and `user` in each of users", "an entry without"),
        ({"cluster": {"server": "example.com"}}, "`server` of cluster one as a URL", "example.com"),
        ({"cluster": {"certificate-authority": "ca.crt"}}, "a file where `certificate-authority` points", "no file"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, change: Json, expected: str, found: str) -> None:
    with pytest.raises(KubeError, match="makes no sense") as caught:
        read(written(tmp_path, **change))
    assert not isinstance(caught.value, NoClusterError)
    assert caught.value.expected == expected
    assert found in str(caught.value.found)


def test_a_file_of_another_kind_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(KubeError, match="makes no sense"):
        read(path)
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(KubeError, match="cannot be read") as caught:
        read(path)
    assert caught.value.remedy == "correct the path in `kubeconfig`, or the file"


def test_a_missing_context_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(NoClusterError) as caught:
        read(written(tmp_path), "there")
    assert (caught.value.expected, caught.value.found) == (f"context there in {tmp_path}/config", "here")


def test_without_a_file_the_environment_decides(tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(tmp_path / "none"), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    with pytest.raises(NoClusterError) as caught:
        read_access(None, None, environment)
    assert caught.value.found == "no such file"


def test_what_a_job_runner_sets_goes_before_the_users_own(tmp_path: Path) -> None:
    path = written(tmp_path, {"token": "t"})
    both = {"K8S_AUTH_KUBECONFIG": str(path), "KUBECONFIG": str(tmp_path / "none")}
    assert read_access(None, None, both).host == "https://example.com:6443"
    with pytest.raises(NoClusterError):
        read_access(str(tmp_path / "none"), None, both)
