# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a certificate in a Secret of a real API server."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.certificates import authority, certify

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api
from ansible_collections.celeryops.platform.plugins.module_utils._redis.certificate import KEYS

Run = Callable[..., dict[str, Any]]
NAME = "redis-master.shop.svc.cluster.local"
BOTH = (True, False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = certify(authority(tmp_path_factory.mktemp("tls")), (f"DNS:{NAME}",))
    return {key: base64.b64encode((folder / key).read_bytes()).decode() for key in KEYS}


def keep(api: Api, namespace: str, data: dict[str, str]) -> dict[str, Any]:
    """The options of the module for a Secret with this data."""
    metadata = {"name": "redis-tls", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    return {"namespace": namespace, "secret": "redis-tls", "names": [NAME]}


def test_a_good_one_changes_nothing(api: Api, namespace: str, kube_module: Run, made: dict[str, str]) -> None:
    given = keep(api, namespace, made)
    results = [kube_module("redis_certificate_check", given, check=check) for check in BOTH * 2]
    assert [one["changed"] for one in results] == [False] * 4
    assert {tuple(one["names"]) for one in results} == {(NAME,)}
    assert all(one["expires"].endswith("GMT") and "warnings" not in one for one in results)


@pytest.mark.parametrize("check", BOTH)
def test_what_is_wrong_is_told_without_a_secret(
    api: Api, namespace: str, kube_module: Run, made: dict[str, str], check: bool
) -> None:
    given = {**keep(api, namespace, made), "names": [NAME, "redis.shop.svc.cluster.local"]}
    failed = kube_module("redis_certificate_check", given, check=check)
    assert failed["failed"]
    assert failed["error"]["expected"] == "a certificate for redis.shop.svc.cluster.local"
    assert failed["names"] == [NAME]
    for value in made.values():
        text = base64.b64decode(value).decode()
        assert all(part not in json.dumps(failed) for part in (value, *text.splitlines()[1:-1]))


@pytest.mark.parametrize("check", BOTH)
def test_no_such_secret(namespace: str, kube_module: Run, check: bool) -> None:
    given = {"namespace": namespace, "secret": "absent", "names": [NAME]}
    failed = kube_module("redis_certificate_check", given, check=check)
    assert "There is no certificate for Redis" in failed["msg"]
    assert failed["error"]["expected"] == f"Secret {namespace}/absent with tls.crt, tls.key, ca.crt"


def test_where_the_namespace_is_yet_to_be_made(kube_module: Run) -> None:
    given = {"namespace": "not-yet", "secret": "redis-tls", "names": [NAME]}
    foreseen = kube_module("redis_certificate_check", given, check=True)
    assert foreseen["unchecked"] == ["everything: namespace not-yet is not there yet"]
    assert kube_module("redis_certificate_check", given)["failed"]


def test_a_certificate_that_some_clients_refuse_is_a_warning(
    api: Api, namespace: str, kube_module: Run, tmp_path: Path
) -> None:
    folder = certify(authority(tmp_path, usage=False), (f"DNS:{NAME}",))
    data = {key: base64.b64encode((folder / key).read_bytes()).decode() for key in KEYS}
    done = kube_module("redis_certificate_check", keep(api, namespace, data))
    assert "failed" not in done
    assert "Python 3.13" in json.dumps(done["warnings"])


def test_bad_input(kube_module: Run) -> None:
    assert (
        "missing required arguments: names"
        in kube_module("redis_certificate_check", {"namespace": "x", "secret": "y"})["msg"]
    )
