# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes cordoned, emptied and given back, against an API server without controllers and kubelets.

What these would write down, the tests write.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.apiserver import ApiServer
from helpers.servers import wait_until

from ansible_collections.celeryops.platform.plugins.module_utils._drill import hands
from ansible_collections.celeryops.platform.plugins.module_utils._drill.hands import NAMESPACE, Hands, namespace
from ansible_collections.celeryops.platform.plugins.module_utils._drill.nodes import Nodes
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef, connect

Json = dict[str, Any]
LABELS = {"app": "shop"}
READY = [{"type": "Ready", "status": "True"}]


@pytest.fixture
def quick(api_server: ApiServer) -> Api:
    """Where a budget that holds a pod back is asked again by the drain, and not by each request."""
    return connect({"kubeconfig": str(api_server.kubeconfig), "retry_timeout": 0})


@pytest.fixture
def node(quick: Api) -> Iterator[str]:
    name = f"node-{uuid.uuid4().hex[:6]}"
    quick.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    status = {"conditions": READY, "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}
    quick.patch(ObjectRef("v1", "Node", name), {"status": status}, subresource="status")
    yield name
    quick.delete(ObjectRef("v1", "Node", name))


def owner(api: Api, space: str, kind: str = "ReplicaSet") -> Json:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "none"}]}}
    spec: Json = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template}
    spec |= {"serviceName": "none"} if kind == "StatefulSet" else {}
    metadata = {"name": f"owner-{kind.lower()}", "namespace": space}
    return api.create({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})


def pod(api: Api, space: str, node: str, name: str, of: Json | None = None, **metadata: Any) -> ObjectRef:
    made = (
        [{"apiVersion": "apps/v1", "kind": of["kind"], "name": of["metadata"]["name"], "uid": of["metadata"]["uid"]}]
        if of
        else []
    )
    spec = {
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "none"}],
        "automountServiceAccountToken": False,
    }
    meta = {"name": name, "namespace": space, "labels": LABELS, **metadata}
    meta["ownerReferences"] = [{**one, "controller": True} for one in made]
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    ref = ObjectRef("v1", "Pod", name, space)
    api.patch(ref, {"status": {"phase": "Running", "conditions": READY}}, subresource="status")
    return ref


def allow(api: Api, space: str, disruptions: int) -> None:
    """As the controller of disruption budgets would."""
    ref = ObjectRef("policy/v1", "PodDisruptionBudget", "shop", space)
    found = api.get(ref)
    if found is None:
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}}
        metadata = {"name": "shop", "namespace": space}
        found = api.create(
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}
        )
    status = {
        "observedGeneration": found["metadata"]["generation"],
        "disruptionsAllowed": disruptions,
        **{"currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2},
    }
    api.patch(ref, {"status": status}, subresource="status")


def cordoned(api: Api, name: str) -> bool:
    found = api.get(ObjectRef("v1", "Node", name))
    assert found
    return bool(found["spec"].get("unschedulable"))


def test_a_node_is_emptied_as_budgets_allow_and_given_back(quick: Api, namespace: str, node: str) -> None:
    of = owner(quick, namespace)
    allow(quick, namespace, 1)
    leaving = [pod(quick, namespace, node, f"shop-{number}", of) for number in range(2)]
    staying = pod(quick, namespace, node, "agent", {**of, "kind": "DaemonSet"})
    elsewhere = pod(quick, namespace, "elsewhere", "other", of)
    nodes, done = Nodes(quick, 60), []
    nodes.refuse([node])
    thread = threading.Thread(target=lambda: done.append(nodes.drain(node)))
    thread.start()
    try:
        # The first may go; the second has to wait for somebody who is ready elsewhere.
        wait_until(lambda: sum(quick.get(ref) is None for ref in leaving) == 1, "one that left")
        assert cordoned(quick, node)
        assert done == []
    finally:
        allow(quick, namespace, 1)
        thread.join()
    assert done == [2]
    assert [quick.get(ref) is None for ref in (*leaving, staying, elsewhere)] == [True, True, False, False]
    nodes.put_back()
    assert not cordoned(quick, node)


def test_a_drain_that_budgets_hold_back_says_which_pod(quick: Api, namespace: str, node: str) -> None:
    ref = pod(quick, namespace, node, "shop-0", owner(quick, namespace))
    allow(quick, namespace, 0)
    nodes = Nodes(quick, 2)
    with pytest.raises(CeleryOpsError, match="held back by disruption budgets: shop-0"):
        nodes.drain(node)
    nodes.put_back()
    assert not cordoned(quick, node)
    assert quick.get(ref) is not None
    quick.delete(ref, grace_seconds=0)


def test_a_pod_that_nobody_brings_back_is_not_drained(quick: Api, namespace: str, node: str) -> None:
    ref = pod(quick, namespace, node, "lone")
    with pytest.raises(CeleryOpsError, match=f"a drain would remove pods for good.*{namespace}/lone"):
        Nodes(quick, 2).refuse([node])
    quick.delete(ref, grace_seconds=0)


def test_a_node_is_whole_when_those_whose_pods_ran_there_are(quick: Api, namespace: str, node: str) -> None:
    of = owner(quick, namespace, "StatefulSet")
    ref = pod(quick, namespace, node, "shop-0", of)
    owners = Nodes(quick, 2).owners(node)
    assert owners == [ObjectRef.of(of)]
    with pytest.raises(CeleryOpsError, match="not ready: StatefulSet"):
        Nodes(quick, 1).wait_whole(node, owners)
    quick.patch(ObjectRef.of(of), {"status": {"replicas": 2, "readyReplicas": 2}}, subresource="status")
    Nodes(quick, 5).wait_whole(node, owners)
    down = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    quick.patch(ObjectRef("v1", "Node", node), down, subresource="status")
    with pytest.raises(CeleryOpsError, match=f"not ready: Node {node}"):
        Nodes(quick, 1).wait_whole(node, owners)
    quick.delete(ref, grace_seconds=0)


@pytest.mark.parametrize(("phase", "seconds", "says"), [("Failed", 30, "without a word"), ("Running", 0, "no word of")])
def test_a_cut_that_nobody_tells_of(
    quick: Api, namespace: str, node: str, monkeypatch: pytest.MonkeyPatch, phase: str, seconds: float, says: str
) -> None:
    """A pod that fails at once is not waited for, one that says nothing no longer than it may take."""
    monkeypatch.setattr(hands, "NAMESPACE", namespace)
    privileged = hands.pod

    def unprivileged(*args: Any, **spec: Any) -> Json:
        """This API server takes no other."""
        made = privileged(*args, **spec)
        made["spec"]["containers"][0].pop("securityContext")
        return made

    monkeypatch.setattr(hands, "pod", unprivileged)

    def kubelet() -> None:
        wait_until(lambda: quick.list("v1", "Pod", namespace), "the pod that cuts")
        (made,) = quick.list("v1", "Pod", namespace)
        quick.patch(ObjectRef.of(made), {"status": {"phase": phase}}, subresource="status")

    running = threading.Thread(target=kubelet)
    running.start()
    with pytest.raises(CeleryOpsError, match=f"node {node} could not be cut off.*{says}"):
        Nodes(quick, 3).cut(node, "image", "python", seconds)
    running.join()
    assert quick.list("v1", "Pod", namespace) == []


def test_hands_wait_for_the_end_of_the_namespace_that_an_earlier_drill_left(quick: Api) -> None:
    """Nobody removes it here, nor makes a service account."""
    quick.create(namespace())
    try:
        with pytest.raises(CeleryOpsError, match="the service account of the drill's namespace"):
            Hands(quick, "image", "python", 1).prepare()
        quick.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}} | WHERE)
        ours = Hands(quick, "image", "python", 5)
        ours.prepare()
        ours.close()
        with pytest.raises(CeleryOpsError, match="the end of the namespace that an earlier drill left"):
            Hands(quick, "image", "python", 1).prepare()
    finally:
        quick.delete(ObjectRef("v1", "Namespace", NAMESPACE))


WHERE = {"metadata": {"name": "default", "namespace": NAMESPACE}}
