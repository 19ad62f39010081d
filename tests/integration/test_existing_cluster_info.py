# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module existing_cluster_info as accounts of a real API server: what they lack, and that the printed Role helps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.apiserver import ApiServer
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

Result = dict[str, Any]
RULES = [
    {"resources": ["pods", "configmaps"], "verbs": ["get", "create"]},
    {"resources": ["pods/exec"], "verbs": ["create"]},
    {"api_group": "apps", "resources": ["deployments"], "verbs": ["patch"], "names": ["worker"]},
    {"resources": ["namespaces"], "verbs": ["create"], "cluster": True},
]


def as_account(api: Api, server: ApiServer, namespace: str, folder: Path) -> Path:
    """A kubeconfig of a service account of the namespace, which may nothing yet."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner", "namespace": namespace}}
    api.create(account)
    path = api.path(ObjectRef("v1", "ServiceAccount", "runner", namespace), "token")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = api.request("POST", path, body=request)["status"]["token"]
    config = json.loads(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    (folder / "kubeconfig").write_text(json.dumps(config))
    return folder / "kubeconfig"


@pytest.fixture
def account(api: Api, api_server: ApiServer, namespace: str, tmp_path: Path) -> Path:
    return as_account(api, api_server, namespace, tmp_path)


@pytest.fixture
def ask(account: Path, namespace: str) -> Callable[..., Result]:
    """The answer, which is the same in check mode."""

    def run(**options: Any) -> Result:
        given = {"kubeconfig": str(account), "namespace": namespace, "rules": RULES, "retry_timeout": 5, **options}
        results = [run_module("existing_cluster_info", given, check=check) for check in (True, False)]
        assert results[0] == results[1]
        assert not results[0]["changed"]
        return results[0]

    return run


def grant(api: Api, manifest: str) -> list[ObjectRef]:
    made = []
    for document in yaml.safe_load_all(manifest):
        api.create(document)
        made.append(ObjectRef.of(document))
    return made


def test_an_administrator_lacks_nothing(ask: Callable[..., Result], api_server: ApiServer) -> None:
    found = ask(kubeconfig=str(api_server.kubeconfig))
    assert (found["missing"], found["manifest"]) == ([], "")
    assert found["user"] == "admin"
    assert found["server"] == api_server.url
    assert found["version"].startswith("v1.")


def test_the_role_that_is_printed_is_what_was_missing(ask: Callable[..., Result], api: Api, namespace: str) -> None:
    found = ask()
    assert found["user"] == f"system:serviceaccount:{namespace}:runner"
    assert [(one["resources"], one["verbs"], one["cluster"]) for one in found["missing"]] == [
        (["pods", "configmaps"], ["get", "create"], False),
        (["pods/exec"], ["create"], False),
        (["deployments"], ["patch"], False),
        (["namespaces"], ["create"], True),
    ]
    made = grant(api, found["manifest"])
    try:
        assert ask()["missing"] == []
        # A rule for one name is not a rule for all.
        wider = [*RULES[:2], {"api_group": "apps", "resources": ["deployments"], "verbs": ["patch"]}]
        assert [one["resources"] for one in ask(rules=wider)["missing"]] == [["deployments"]]
    finally:
        for ref in made:
            api.delete(ref)


def test_a_part_that_is_granted_is_not_asked_for(ask: Callable[..., Result], api: Api, namespace: str) -> None:
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "some", "namespace": namespace}}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "some"}
    subjects = [{"kind": "ServiceAccount", "name": "runner", "namespace": namespace}]
    api.create({**rbac, "kind": "Role", "rules": rules})
    api.create({**rbac, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects})
    found = ask(rules=RULES[:1])["missing"]
    assert [(one["resources"], one["verbs"]) for one in found] == [
        (["pods"], ["create"]),
        (["configmaps"], ["get", "create"]),
    ]


def test_a_context_that_is_not_there_is_said(ask: Callable[..., Result]) -> None:
    refused = ask(context="nowhere")
    assert refused["failed"]
    assert "nowhere" in refused["msg"]
    assert refused["missing"] == []


def test_preflight_judges_nothing_that_an_account_may_not_see(
    account: Path, api_server: ApiServer, namespace: str
) -> None:
    options = {"existing": True, "namespace": namespace, "retry_timeout": 5}
    assert run_module("preflight_info", {**options, "kubeconfig": str(account)})["findings"] == []
    seen = run_module("preflight_info", {**options, "kubeconfig": str(api_server.kubeconfig)})["findings"]
    assert [one["check"] for one in seen] == ["storage"]


def test_the_role_prints_what_an_account_lacks_before_anything_is_built(account: Path, namespace: str) -> None:
    """site.yml with inventories/existing, as the account sees it; it stops at the first play."""
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "inventories/existing",
        "site.yml",
        "-e",
        f"platform_kubeconfig={account}",
    ]
    command += ["-e", f"platform_namespace={namespace}", "-e", "existing_cluster_makes_namespace=false"]
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode != 0
    assert "kind: RoleBinding" in ran.stdout
    assert '"resources": ["pods/exec", "pods/portforward"]' in ran.stdout
    assert "See what has to be built" not in ran.stdout
