# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an account needs to be allowed, as questions to the API server, and what it lacks, as a Role. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["EVERYTHING", "Question", "Rule", "lacking", "manifest", "questions"]


@dataclass(frozen=True)
class Rule:
    """Verbs on resources of one API group, in the platform's namespace or, with `cluster`, outside of namespaces."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    cluster: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The rule as a Role has it."""
        found = {"apiGroups": [self.group], "resources": list(self.resources), "verbs": list(self.verbs)}
        return found | ({"resourceNames": list(self.names)} if self.names else {})


@dataclass(frozen=True)
class Question:
    """May I do this? An empty namespace asks for the whole cluster."""

    group: str
    resource: str
    verb: str
    namespace: str = ""
    name: str = ""

    def review(self) -> dict[str, Any]:
        """The SelfSubjectAccessReview that asks it."""
        resource, _slash, subresource = self.resource.partition("/")
        attributes = {
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "verb": self.verb,
            "namespace": self.namespace,
            "name": self.name,
        }
        given = {key: value for key, value in attributes.items() if value}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": given},
        }


# Who may do this may do all that follows: one question instead of a hundred.
EVERYTHING = Question("*", "*", "*")


def questions(rule: Rule, namespace: str) -> list[Question]:
    """One question per resource, verb and name."""
    where = "" if rule.cluster else namespace
    return [
        Question(rule.group, resource, verb, where, name)
        for resource in rule.resources
        for verb in rule.verbs
        for name in rule.names or ("",)
    ]


def lacking(rules: Iterable[Rule], namespace: str, denied: Collection[Question]) -> list[Rule]:
    """The parts of the rules that were denied: resources that lack the same verbs stay together."""
    found = []
    for rule in rules:
        by_verbs: dict[tuple[str, ...], list[str]] = {}
        for resource in rule.resources:
            part = Rule(rule.group, (resource,), rule.verbs, rule.names, rule.cluster)
            refused = {question.verb for question in questions(part, namespace) if question in denied}
            if refused:
                by_verbs.setdefault(tuple(verb for verb in rule.verbs if verb in refused), []).append(resource)
        found += [
            Rule(rule.group, tuple(resources), verbs, rule.names, rule.cluster) for verbs, resources in by_verbs.items()
        ]
    return found


def manifest(rules: Iterable[Rule], namespace: str, user: str) -> str:
    """A Role, a ClusterRole or both with their bindings, as YAML for `kubectl apply --filename -`; empty for no rules.

    The name goes by the rules: what was granted before stays when more is granted.
    """
    documents = []
    for cluster in (False, True):
        wanted = [rule.as_dict() for rule in rules if rule.cluster is cluster]
        if wanted:
            digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:8]
            documents += _documents(wanted, f"celeryops-{digest}", "" if cluster else namespace, user)
    return "---\n".join(documents)


def _documents(rules: list[dict[str, Any]], name: str, namespace: str, user: str) -> list[str]:
    kind = "Role" if namespace else "ClusterRole"
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    role = {"kind": kind, "metadata": meta, "rules": rules}
    binding = {"kind": f"{kind}Binding", "metadata": meta, "roleRef": reference, "subjects": [_subject(user)]}
    return [_yaml({"apiVersion": "rbac.authorization.k8s.io/v1", **document}) for document in (role, binding)]


def _subject(user: str) -> dict[str, str]:
    prefix, _mark, rest = user.partition("system:serviceaccount:")
    if not prefix and rest:
        namespace, _colon, account = rest.partition(":")
        return {"kind": "ServiceAccount", "namespace": namespace, "name": account}
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user or "THE-USER"}


def _yaml(document: Mapping[str, Any]) -> str:
    """One line per key and per element of a list; JSON, which YAML is a superset of, below that."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"  - {json.dumps(element)}" for element in value)]
        else:
            lines.append(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return "".join(f"{line}\n" for line in lines)
