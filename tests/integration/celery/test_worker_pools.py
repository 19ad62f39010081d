# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role makes of declared pools: in check mode, against an API server that has to take every object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.manifests import config_map
from helpers.modules import ROOT

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

SURVEY = yaml.safe_load((ROOT / "tests/unit/plugins/module_utils/_celery/data/settings.yml").read_text())["agreeing"][
    "survey"
]
REPORTS: dict[str, Any] = {
    "name": "reports",
    "kind": "solo",
    "queues": ["celery"],
    "replicas": 1,
    "resources": {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"cpu": "200m", "memory": "192Mi"}},
    "settings": {"task_time_limit": 400},
    "capabilities": ["SYS_PTRACE"],
    "env": [{"name": "A", "value": "b"}],
    "node_selector": {"disk": "ssd"},
    "priority_class": "system-cluster-critical",
    "shm_size": "",
    "volumes": [{"name": "data", "emptyDir": {}}],
    "volume_mounts": [{"name": "data", "mountPath": "/data"}],
    "topology_spread": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "liveness_probe": {"periodSeconds": 20},
    "grace_period": 50,
}


def play(
    folder: Path,
    kubeconfig: Path,
    namespace: str,
    variables: dict[str, Any],
    *,
    check: bool = True,
    role: str = "celery_worker",
) -> tuple[int, dict[str, Any], str]:
    """Exit status, results by task name, and what was printed."""
    record = folder / "record.jsonl"
    playbook = folder / "play.yml"
    given = {
        "platform_namespace": namespace,
        "artifacts_images": {"app": "localhost/app:1"},
        "celery_app_queues": ["celery", "backups"],
        "celery_worker_survey": SURVEY,
        **variables,
    }
    names = ("celery_app", "celery_pod")
    # The other roles' defaults without their tasks, for those need what is not there.
    files = [*sorted(str(path) for name in names for path in (ROOT / f"roles/{name}/defaults").rglob("*.yml"))]
    files += [str(ROOT / f"roles/{name}/vars/main.yml") for name in names]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/celeryops.platform.kube": {"kubeconfig": str(kubeconfig)}},
        "vars_files": files,
        "roles": [f"celeryops.platform.{role}"],
    }
    playbook.write_text(yaml.safe_dump([play]))
    (folder / "vars.json").write_text(json.dumps(given))
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "ansible-playbook", "--inventory=localhost,", "--connection=local"),
            *(["--check"] if check else []),
            *("--diff", f"--extra-vars=@{folder / 'vars.json'}"),
            *(f"--extra-vars=ansible_python_interpreter={sys.executable}", playbook),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/helpers/callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "record_results",
            "RECORD_RESULTS": str(record),
        },
    )
    entries = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    return done.returncode, {each["task"]: each["result"] for each in entries}, done.stdout + done.stderr


def objects(results: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """What would be made, from the diff; the object that remembers the set is left out."""
    result = next(result for task, result in results.items() if "Apply the workers" in task)
    found = [yaml.safe_load(each["after"]) for each in result["diff"]]
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found if obj["kind"] != "ConfigMap"}


@pytest.fixture
def kubeconfig(api_server: Any) -> Path:
    return Path(api_server.kubeconfig)


def test_one_pool_by_default(tmp_path: Path, kubeconfig: Path, namespace: str, api: Api) -> None:
    status, results, printed = play(tmp_path, kubeconfig, namespace, {"celery_worker_profile": "medium"})
    assert status == 0, printed
    found = objects(results)
    assert set(found) == {("Deployment", "celery-worker"), ("PodDisruptionBudget", "celery-worker")}
    spec = found["Deployment", "celery-worker"]["spec"]
    assert spec["replicas"] == 5
    assert spec["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "celery-worker",
        "component": "celery-worker",
    }
    args = spec["template"]["spec"]["containers"][0]["args"]
    assert args[:4] == ["celery", "-A", "config", "worker"]
    assert "--queues=celery,backups" in args
    assert found["PodDisruptionBudget", "celery-worker"]["spec"]["minAvailable"] == 2


def test_every_field_of_a_pool_reaches_its_pods(tmp_path: Path, kubeconfig: Path, namespace: str, api: Api) -> None:
    pools = [{"name": "default"}, REPORTS]
    status, results, printed = play(tmp_path, kubeconfig, namespace, {"celery_worker_pools": pools})
    assert status == 0, printed
    found = objects(results)
    assert len(found) == 4
    deployment = found["Deployment", "celery-worker-reports"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["pool"] == "reports"
    assert deployment["spec"]["replicas"] == 1
    assert container["resources"] == REPORTS["resources"]
    assert container["securityContext"]["capabilities"] == {"add": ["SYS_PTRACE"], "drop": ["ALL"]}
    assert {"name": "A", "value": "b"} in container["env"]
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert container["livenessProbe"]["periodSeconds"] == 20
    assert container["livenessProbe"]["failureThreshold"] == 3
    assert [word for word in container["args"] if word.startswith("--") and "=" in word] == [
        "--loglevel=info",
        "--pool=solo",
        "--concurrency=1",
        "--queues=celery",
        "--prefetch-multiplier=1",
    ]
    assert "task_time_limit=400" in container["args"]
    assert {"name": "data", "emptyDir": {}} in pod["volumes"]
    assert not [each for each in pod["volumes"] if each["name"] == "shm"]
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"disk": "ssd"}, "system-cluster-critical")
    assert pod["terminationGracePeriodSeconds"] == 50
    (spread,) = pod["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"]["app.kubernetes.io/name"] == "celery-worker-reports"
    assert found["PodDisruptionBudget", "celery-worker-reports"]["spec"]["minAvailable"] == 0
    usual = found["Deployment", "celery-worker"]["spec"]["template"]["spec"]
    assert [each["name"] for each in usual["volumes"]] == ["celeryops", "celeryops-state", "shm"]
    assert "topologySpreadConstraints" not in usual


@pytest.mark.slow
def test_a_pool_that_left_the_variable_goes(tmp_path: Path, kubeconfig: Path, namespace: str, api: Api) -> None:
    """This API server has no controllers, so waiting ends the play; what was applied and deleted stands."""

    def pools(*declared: dict[str, Any]) -> set[str]:
        given = {"celery_worker_pools": list(declared), "celery_worker_wait_timeout": 1}
        status, _results, printed = play(tmp_path, kubeconfig, namespace, given, check=False)
        assert status != 0
        assert "contradiction" not in printed
        kinds = (("apps/v1", "Deployment"), ("policy/v1", "PodDisruptionBudget"))
        found = [{obj["metadata"]["name"] for obj in api.list(*kind, namespace)} for kind in kinds]
        assert found[0] == found[1], printed
        return found[0]

    api.apply(config_map(namespace, "somebody-elses"), field_manager="celeryops")
    assert pools({"name": "default"}, {"name": "reports"}) == {"celery-worker", "celery-worker-reports"}
    assert pools({"name": "default"}) == {"celery-worker"}
    assert api.get(ObjectRef("v1", "ConfigMap", "somebody-elses", namespace)) is not None


AUTOSCALE = {"min": 2, "max": 6, "cpu": 60, "scale_down_stabilization": 30}


def test_an_autoscaled_pool(tmp_path: Path, kubeconfig: Path, namespace: str) -> None:
    """In check mode the role that brings the metrics API may only have said so."""
    pools = [{"name": "default", "autoscale": AUTOSCALE}, {"name": "reports"}]
    status, results, printed = play(tmp_path, kubeconfig, namespace, {"celery_worker_pools": pools})
    assert status == 0, printed
    found = objects(results)
    assert {name for kind, name in found if kind == "HorizontalPodAutoscaler"} == {"celery-worker"}
    spec = found["HorizontalPodAutoscaler", "celery-worker"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 30
    assert spec["behavior"]["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    assert found["Deployment", "celery-worker"]["spec"]["replicas"] == 2
    assert found["PodDisruptionBudget", "celery-worker"]["spec"]["maxUnavailable"] == 1
    assert found["PodDisruptionBudget", "celery-worker-reports"]["spec"]["minAvailable"] == 2
    check = next(result for task, result in results.items() if "Refuse settings" in task)
    assert "the metrics API: the cluster serves no metrics API" in check["unchecked"]


def test_no_metrics_api_stops_before_anything_is_applied(tmp_path: Path, kubeconfig: Path, namespace: str) -> None:
    pools = [{"name": "default", "autoscale": AUTOSCALE}]
    status, results, printed = play(tmp_path, kubeconfig, namespace, {"celery_worker_pools": pools}, check=False)
    assert status != 0
    assert not [task for task in results if "Apply the workers" in task]
    assert "[metrics-api]" in printed
    assert "role metrics_server" in printed


def test_contradictions_stop_before_anything_is_applied(tmp_path: Path, kubeconfig: Path, namespace: str) -> None:
    pools = [{"name": "default", "queues": ["celery"], "grace_period": 45, "min_available": 3}]
    status, results, printed = play(tmp_path, kubeconfig, namespace, {"celery_worker_pools": pools})
    assert status != 0
    assert not [task for task in results if "Apply the workers" in task]
    for rule in ("queue-without-consumer", "soft-shutdown-grace", "disruption-budget"):
        assert rule in printed


@pytest.mark.parametrize(
    ("pool", "says"),
    [
        ({"name": "a", "kind": "forks"}, "value of kind must be one of"),
        ({"name": "a", "queue": "celery"}, "queue. Supported parameters"),
        ({"name": "Not A Label"}, "different names of small letters"),
        ({"kind": "solo"}, "different names of small letters"),
        ({"name": "a", "autoscale": {"max": 1}}, "max 1 below min 3"),
        ({"name": "a", "autoscale": {"maximum": 4}}, "no field 'maximum'"),
    ],
)
def test_bad_input(tmp_path: Path, kubeconfig: Path, namespace: str, pool: dict[str, Any], says: str) -> None:
    status, _results, printed = play(tmp_path, kubeconfig, namespace, {"celery_worker_pools": [pool]})
    assert status != 0
    assert says in " ".join(printed.split())
