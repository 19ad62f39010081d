# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the ConfigMap's broker and result URLs to the writable master, and proves it before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._redis.broker import (
    FIELD_MANAGER,
    URL_KEYS,
    Plan,
    make_plan,
    owners_of,
    redacted,
    target_of,
    wanted_data,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.cluster import Cluster, find
from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Answer, Target
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Pod, Survey, tally

__all__ = ["settle"]


def settle(api: Api, params: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """The whole of module redis_master; its result without what Ansible adds. Raises CeleryOpsError."""
    cluster = find(api, params)
    if cluster is None:
        return _without_redis(params, check_mode)
    survey = cluster.survey()
    master = _the_master(survey, f"{params['statefulset']}-0")
    wanted = wanted_data(master.host, params["port"], params["database"])
    goal = Target(master.host, params["port"], params["database"])

    ref = ObjectRef("v1", "ConfigMap", params["config_map"], params["namespace"])
    found, owners = _read(api, ref)
    others = {url for key in URL_KEYS if (url := found.get(key)) and url != wanted[key]}
    answers = _look(cluster, survey, others)
    evidence = [_evidence(url, "before", "look", got, survey) for url, got in answers.items()]

    evidence.append(_prove(cluster, survey, goal, wanted[URL_KEYS[0]], "before", write=not check_mode))
    plan = make_plan(wanted, found, answers, survey, owners)
    if plan.needed and not check_mode:
        body = {"apiVersion": ref.api_version, "kind": ref.kind, "data": dict(wanted)}
        body["metadata"] = {"name": ref.name, "namespace": ref.namespace}
        # The keys are this module's alone: whoever wrote them meanwhile loses them again.
        api.apply(body, field_manager=FIELD_MANAGER, force=True)
        evidence += _verify(api, ref, cluster, survey, wanted)
    return {
        "changed": plan.needed,
        "msg": _message(plan, evidence[-1], check_mode),
        "urls": dict(wanted),
        "problems": plan.problems,
        "master": {"pod": master.name, "host": master.host},
        "verdict": survey.verdict,
        "disagreements": list(survey.disagreements),
        "evidence": evidence,
        "diff": plan.diff,
    }


def _without_redis(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    where = f"StatefulSet {params['namespace']}/{params['statefulset']}"
    if not check_mode:
        raise CeleryOpsError(
            "There is no Redis to point the broker URL at",
            expected=where,
            found="no such object",
            remedy="run role redis first, or set statefulset",
        )
    return {
        "changed": True,
        "msg": f"{where} does not exist yet: the URLs would be set and proved once it does",
        "urls": {},
        "problems": [],
        "master": {},
        "verdict": Survey(()).verdict,
        "disagreements": [],
        "evidence": [],
        "diff": {"before": {}, "after": dict.fromkeys(URL_KEYS, "(known once Redis runs)")},
    }


def _the_master(survey: Survey, fixed: str) -> Pod:
    """The one master, which has to be the pod whose name never changes."""
    master = survey.master
    if master is None:
        raise CeleryOpsError(
            "The broker URL is left as it is: it is not clear which Redis pod is the master",
            expected=f"one master, {fixed}",
            found="; ".join(survey.disagreements) or survey.verdict,
            remedy="compare the pods' keys and offsets, make one the master, let the others follow it (REPLICAOF)",
            **survey.report(),
        )
    if master.name != fixed:
        raise CeleryOpsError(
            "The broker URL is left as it is: the fixed name does not lead to the master",
            expected=f"{fixed} as the master, which is what it starts as",
            found=f"{master.name} is the master",
            remedy=f"let {fixed} copy the data of {master.host} (REPLICAOF), promote it, and let the others follow it",
            **survey.report(),
        )
    return master


def _read(api: Api, ref: ObjectRef) -> tuple[Mapping[str, str], Mapping[str, tuple[str, ...]]]:
    config_map = api.get(ref) or {"metadata": {}}
    return config_map.get("data") or {}, owners_of(config_map["metadata"])


def _look(cluster: Cluster, survey: Survey, urls: set[str]) -> dict[str, tuple[Answer, ...]]:
    """What clients of the URLs found get, where those name a Redis at all."""
    targets = {url: target for url in sorted(urls) if (target := target_of(url))}
    if not targets:
        return {}
    return dict(zip(targets, cluster.ask(list(targets.values()), survey, write=False), strict=True))


def _prove(cluster: Cluster, survey: Survey, goal: Target, url: str, when: str, *, write: bool) -> dict[str, Any]:
    """Evidence that every new connection to the URL reaches the master and may write. Raises when one does not."""
    (answers,) = cluster.ask([goal], survey, write=write)
    evidence = _evidence(url, when, "write" if write else "look", answers, survey)
    if not evidence["writable"]:
        raise CeleryOpsError(
            f"A client of {redacted(url)} cannot write",
            expected=f"{cluster.connections} of {cluster.connections} new connections reach the master and may write",
            found=f"answers {evidence['answers']}, {'; '.join(evidence['errors'])}",
            remedy="see what INFO replication, INFO persistence and INFO memory of the master say",
            evidence=[evidence],
            **survey.report(),
        )
    return evidence


def _verify(
    api: Api, ref: ObjectRef, cluster: Cluster, survey: Survey, wanted: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Reads the ConfigMap back and proves what it says now, as the workers will read it."""
    now, _owners = _read(api, ref)
    wrong = [key for key, value in wanted.items() if now.get(key) != value]
    if wrong:
        raise CeleryOpsError(
            f"ConfigMap {ref.name} does not hold what was just written",
            expected=", ".join(f"{key}={wanted[key]}" for key in wrong),
            found=", ".join(f"{key}={redacted(now.get(key, '(not set)'))}" for key in wrong),
            remedy="find who else writes it: kubectl get configmap --show-managed-fields",
        )
    goals = {now[key]: target for key in URL_KEYS if (target := target_of(now[key]))}
    return [_prove(cluster, survey, target, url, "after", write=True) for url, target in goals.items()]


def _evidence(url: str, when: str, proof: str, answers: tuple[Answer, ...], survey: Survey) -> dict[str, Any]:
    return {"url": redacted(url), "when": when, "proof": proof, **tally(answers, survey.pods)}


def _message(plan: Plan, proof: Mapping[str, Any], check_mode: bool) -> str:
    done = "wrote, read and deleted a key" if proof["proof"] == "write" else "may write"
    proved = f"{proof['connections']} of {proof['connections']} new connections to {proof['url']} {done}"
    if not plan.needed:
        return proved
    verb = "Would correct" if check_mode else "Corrected"
    return f"{verb}: {'; '.join(plan.problems)}. Proof: {proved}"
