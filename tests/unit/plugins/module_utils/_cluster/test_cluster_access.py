# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of the API server, and the Role that is made of what it denies."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._cluster.access import (
    Question,
    Rule,
    lacking,
    manifest,
    questions,
)

PODS = Rule("", ("pods", "pods/exec"), ("get", "create"))
SPACE = Rule("", ("namespaces",), ("create",), cluster=True)
NAMED = Rule("apps", ("deployments",), ("patch",), ("a", "b"))
ACCOUNT = "system:serviceaccount:awx:runner"


def test_every_verb_of_every_resource_and_name_is_asked() -> None:
    assert len(questions(PODS, "shop")) == 4
    assert questions(NAMED, "shop") == [
        Question("apps", "deployments", "patch", "shop", "a"),
        Question("apps", "deployments", "patch", "shop", "b"),
    ]
    assert questions(SPACE, "shop") == [Question("", "namespaces", "create")]


def test_a_question_names_the_subresource_apart() -> None:
    attributes = Question("", "pods/exec", "create", "shop").review()["spec"]["resourceAttributes"]
    assert attributes == {"resource": "pods", "subresource": "exec", "verb": "create", "namespace": "shop"}


def test_only_what_is_denied_is_lacking() -> None:
    assert lacking([PODS, SPACE], "shop", set()) == []
    denied = {Question("", "pods/exec", "create", "shop"), Question("", "namespaces", "create")}
    assert lacking([PODS, SPACE, NAMED], "shop", denied) == [Rule("", ("pods/exec",), ("create",)), SPACE]


def test_resources_that_lack_the_same_stay_together() -> None:
    assert lacking([PODS], "shop", set(questions(PODS, "shop"))) == [PODS]


def test_the_manifest_can_be_applied() -> None:
    documents = list(yaml.safe_load_all(manifest([PODS, NAMED, SPACE], "shop", ACCOUNT)))
    assert [one["kind"] for one in documents] == ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]
    role, binding, cluster_role, _cluster_binding = documents
    assert role["metadata"]["namespace"] == "shop"
    assert role["rules"] == [PODS.as_dict(), NAMED.as_dict()]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "namespace": "awx", "name": "runner"}]
    assert cluster_role["rules"] == [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create"]}]
    assert manifest([], "shop", ACCOUNT) == ""


def test_what_is_granted_later_does_not_replace_what_was_granted_before() -> None:
    names = {next(yaml.safe_load_all(manifest([rule], "shop", ACCOUNT)))["metadata"]["name"] for rule in (PODS, NAMED)}
    assert len(names) == 2


@pytest.mark.parametrize(("user", "name"), [("jane", "jane"), ("", "THE-USER")])
def test_a_user_is_bound_by_name(user: str, name: str) -> None:
    binding = list(yaml.safe_load_all(manifest([PODS], "shop", user)))[1]
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]
