# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a cluster that is there who we are, what it is, and what we may do in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._cluster.access import (
    EVERYTHING,
    Question,
    Rule,
    lacking,
    manifest,
    questions,
)
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, KubeError

__all__ = ["survey"]

_AUTHORIZATION = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_AUTHENTICATION = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_THREADS = 8


def survey(api: Api, rules: Sequence[Rule], namespace: str, result: dict[str, Any]) -> None:
    """Fills `result`: server, version, user, missing, manifest. Changes nothing. Raises KubeError for no answer."""
    result["server"] = api.host
    result["version"] = str(api.request("GET", "/version")["gitVersion"])
    result["user"] = _user(api)
    denied = _denied(api, [question for rule in rules for question in questions(rule, namespace)])
    missing = lacking(rules, namespace, denied)
    result["missing"] = [{**rule.as_dict(), "cluster": rule.cluster} for rule in missing]
    result["manifest"] = manifest(missing, namespace, result["user"])


def _user(api: Api) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = api.request("POST", _AUTHENTICATION, body=body, repeatable=True, what="the question who we are")
    except KubeError as error:
        # Servers before 1.28 do not know it; the account's name only completes the manifest.
        if error.status == 404:
            return ""
        raise
    return str(answer["status"]["userInfo"]["username"])


def _denied(api: Api, asked: Iterable[Question]) -> set[Question]:
    if _allowed(api, EVERYTHING):
        return set()
    distinct = list(dict.fromkeys(asked))
    with ThreadPoolExecutor(_THREADS) as pool:
        answers = pool.map(lambda question: _allowed(api, question), distinct)
        return {question for question, allowed in zip(distinct, answers, strict=True) if not allowed}


def _allowed(api: Api, question: Question) -> bool:
    what = f"the question whether we may {question.verb} {question.resource}"
    answer = api.request("POST", _AUTHORIZATION, body=question.review(), repeatable=True, what=what)
    return bool(answer["status"].get("allowed"))
