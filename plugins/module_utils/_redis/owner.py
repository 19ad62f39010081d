# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the ConfigMap's broker and result URLs to the writable master, and proves it before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._redis.broker import (
    FIELD_MANAGER,
    Plan,
    make_plan,
    owners_of,
    redacted,
    scheme_of,
    target_of,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.cluster import Cluster, find
from ansible_collections.celeryops.platform.plugins.module_utils._redis.external import External
from ansible_collections.celeryops.platform.plugins.module_utils._redis.goal import (
    URL_KEYS,
    Goal,
    external_goal,
    goal_of,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Answer, Target
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Pod, Survey, tally
from ansible_collections.celeryops.platform.plugins.module_utils._redis.views import majority

__all__ = ["settle"]


class Client(Protocol):
    """Who imitates clients: pods of the cluster, or a pod made for it."""

    @property
    def connections(self) -> int: ...

    def ask(self, targets: Sequence[Target], survey: Survey, *, write: bool) -> tuple[tuple[Answer, ...], ...]: ...


def settle(api: Api, params: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """The whole of module redis_master; its result without what Ansible adds. Raises CeleryOpsError."""
    if params["mode"] == "external":
        outside = External.of(api, params)
        return _settle(api, params, outside, Survey((), external=True), external_goal(params), check_mode)
    cluster = find(api, params)
    missing = _missing(cluster, params)
    if cluster is None or missing:
        return _without_redis(missing, check_mode)
    # What a name does to many connections is asked below, of those that the URLs have.
    survey = cluster.survey(connections=1)
    master = _the_master(survey, f"{params['statefulset']}-0" if params["mode"] == "master" else "")
    _agreed(survey, master, params["mode"])
    goal = goal_of(params, master.host, cluster.sentinel_hosts, tls=bool(cluster.ca))
    return _settle(api, params, cluster, survey, goal, check_mode)


def _settle(
    api: Api, params: Mapping[str, Any], client: Client, survey: Survey, goal: Goal, check_mode: bool
) -> dict[str, Any]:
    ref = ObjectRef("v1", "ConfigMap", params["config_map"], params["namespace"])
    found, owners = _read(api, ref)
    others = {url for key in URL_KEYS if (url := found.get(key)) and url != goal.url}
    # Outside of the cluster every look costs a pod, and its roles are nobody's business here.
    answers = _look(client, survey, others, scheme_of(goal.url)) if survey.pods else {}
    evidence = [_evidence(url, "before", "look", got, survey) for url, got in answers.items()]

    evidence.append(_prove(client, survey, goal, "before", write=not check_mode))
    plan = make_plan(goal, found, answers, survey, owners)
    if plan.needed and not check_mode:
        body = {"apiVersion": ref.api_version, "kind": ref.kind, "data": goal.data}
        body["metadata"] = {"name": ref.name, "namespace": ref.namespace}
        # The keys are this module's alone: whoever wrote them meanwhile loses them again.
        api.apply(body, field_manager=FIELD_MANAGER, force=True)
        _read_back(api, ref, goal.data)
        evidence.append(_prove(client, survey, goal, "after", write=True))
    master = survey.master
    return {
        "changed": plan.needed,
        "msg": _message(plan, evidence[-1], check_mode),
        "urls": goal.data,
        "problems": plan.problems,
        "master": {"pod": master.name, "host": master.host} if master else {},
        "verdict": survey.verdict if survey.pods else "external",
        "disagreements": list(survey.disagreements),
        "evidence": evidence,
        "diff": plan.diff,
    }


def _missing(cluster: Cluster | None, params: Mapping[str, Any]) -> str:
    """What the mode needs and the cluster does not have."""
    if cluster is None:
        return f"StatefulSet {params['namespace']}/{params['statefulset']}"
    if params["mode"] == "proxy" and not (cluster.proxies and cluster.master_service):
        proxy = params["proxy"]
        return f"Deployment {proxy['deployment']} with Service {proxy['service']} in namespace {params['namespace']}"
    if params["mode"] == "sentinel" and not cluster.watchers:
        return f"StatefulSet {params['namespace']}/{params['sentinel']['statefulset']}"
    return ""


def _without_redis(where: str, check_mode: bool) -> dict[str, Any]:
    if not check_mode:
        raise CeleryOpsError(
            "There is no Redis to point the broker URL at",
            expected=where,
            found="no such object",
            remedy="run role redis first, in the same mode, or set the names of what it made",
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
    """The one master; where clients know a ``fixed`` name it has to be that pod."""
    master = survey.master
    if master is None:
        raise CeleryOpsError(
            "The broker URL is left as it is: it is not clear which Redis pod is the master",
            expected=f"one master{f', {fixed}' if fixed else ''}",
            found="; ".join(survey.disagreements) or survey.verdict,
            remedy="compare the pods' keys and offsets, make one the master, let the others follow it (REPLICAOF)",
            **survey.report(),
        )
    if fixed and master.name != fixed:
        raise CeleryOpsError(
            "The broker URL is left as it is: the fixed name does not lead to the master",
            expected=f"{fixed} as the master, which is what it starts as",
            found=f"{master.name} is the master",
            remedy=f"let {fixed} copy the data of {master.host} (REPLICAOF), promote it, and let the others follow it",
            **survey.report(),
        )
    return master


def _agreed(survey: Survey, master: Pod, mode: str) -> None:
    """Most Sentinels name the pod that is the master: otherwise clients who ask them are about to be led elsewhere."""
    if mode not in ("proxy", "sentinel"):
        return
    naming = [one for one in survey.sentinels if one.names == master.host]
    if len(naming) >= majority(survey.wanted_sentinels):
        return
    raise CeleryOpsError(
        "The broker URL is left as it is: the Sentinels do not agree with the pods on who is the master",
        expected=f"{majority(survey.wanted_sentinels)} of {survey.wanted_sentinels} Sentinels that name {master.name}",
        found="; ".join(survey.disagreements) or f"{len(naming)} do",
        remedy="wait for a failover to end; if it lasts, read the Sentinels' logs, and what stands in their way",
        **survey.report(),
    )


def _read(api: Api, ref: ObjectRef) -> tuple[Mapping[str, str], Mapping[str, tuple[str, ...]]]:
    config_map = api.get(ref) or {"metadata": {}}
    return config_map.get("data") or {}, owners_of(config_map["metadata"])


def _look(client: Client, survey: Survey, urls: set[str], scheme: str) -> dict[str, tuple[Answer, ...]]:
    """What clients of the URLs found get, where those name a Redis at all, and with or without TLS as it speaks."""
    targets = {url: target for url in sorted(urls) if (target := target_of(url, scheme))}
    if not targets:
        return {}
    return dict(zip(targets, client.ask(list(targets.values()), survey, write=False), strict=True))


def _prove(client: Client, survey: Survey, goal: Goal, when: str, *, write: bool) -> dict[str, Any]:
    """Evidence that every new connection to the URL reaches the master and may write. Raises when one does not."""
    (answers,) = client.ask([goal.target], survey, write=write)
    evidence = _evidence(goal.url, when, "write" if write else "look", answers, survey)
    if not evidence["writable"]:
        raise CeleryOpsError(
            f"A client of {redacted(goal.url)} cannot write",
            expected=f"{client.connections} of {client.connections} new connections reach the master and may write",
            found=f"answers {evidence['answers']}, {'; '.join(evidence['errors'])}",
            remedy="see what INFO replication, INFO persistence and INFO memory of the master say",
            evidence=[evidence],
            **survey.report(),
        )
    return evidence


def _read_back(api: Api, ref: ObjectRef, wanted: Mapping[str, str]) -> None:
    """The ConfigMap says what the workers are to read."""
    now, _owners = _read(api, ref)
    wrong = [key for key, value in wanted.items() if now.get(key) != value]
    if wrong:
        raise CeleryOpsError(
            f"ConfigMap {ref.name} does not hold what was just written",
            expected=", ".join(f"{key}={wanted[key]}" for key in wrong),
            found=", ".join(f"{key}={redacted(now.get(key, '(not set)'))}" for key in wrong),
            remedy="find who else writes it: kubectl get configmap --show-managed-fields",
        )


def _evidence(url: str, when: str, proof: str, answers: tuple[Answer, ...], survey: Survey) -> dict[str, Any]:
    return {"url": redacted(url), "when": when, "proof": proof, **tally(answers, survey.pods)}


def _message(plan: Plan, proof: Mapping[str, Any], check_mode: bool) -> str:
    done = "wrote, read and deleted a key" if proof["proof"] == "write" else "may write"
    proved = f"{proof['connections']} of {proof['connections']} new connections to {proof['url']} {done}"
    if not plan.needed:
        return proved
    verb = "Would correct" if check_mode else "Corrected"
    return f"{verb}: {'; '.join(plan.problems)}. Proof: {proved}"
