# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application without Django on the full cluster: a pool of each kind, a namespace and a Redis of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from helpers.modules import ROOT, run_module
from quotes_place import PYTHON, Place, opened

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

# Pool: the queue that it alone consumes, and the task that is routed there
POOLS = {
    "default": ("desk", "edit"),
    "press": ("press", "render"),
    "post": ("post", "mail"),
    "feeds": ("feeds", "fetch"),
    "hooks": ("hooks", "notify"),
}


@pytest.fixture(scope="module")
def place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(cluster, "pools", tmp_path_factory.mktemp("pools")) as found:
        found.play()
        yield found


def test_every_kind_of_pool_consumes_and_a_second_run_changes_nothing(place: Place) -> None:
    assert {pod["metadata"]["labels"]["pool"] for pod in place.pods()} == set(POOLS)
    assert "changed=0 " in place.play()
    results = place.send(*(task for _queue, task in POOLS.values()))
    for pool, (queue, task) in POOLS.items():
        deployment = "celery-worker" if pool == "default" else f"celery-worker-{pool}"
        assert results[task]["queue"] == queue
        assert results[task]["worker"].startswith(f"celery@{deployment}-")


def test_settings_are_read_back_from_every_pool(place: Place) -> None:
    declared = yaml.safe_load((ROOT / "examples/quotes/workers.yml").read_text())[0]["vars"]["celery_worker_pools"]
    names = ["celery-worker" if each["name"] == "default" else f"celery-worker-{each['name']}" for each in declared]
    settings = yaml.safe_load((ROOT / "roles/celery_worker/defaults/main.yml").read_text())["celery_worker_settings"]
    result = run_module(
        "celery_validate",
        {
            "namespace": place.namespace,
            "app": "quotes.app",
            "python": PYTHON,
            "workers": names,
            "queues": [queue for queue, _task in POOLS.values()],
            "settings": dict.fromkeys(names, settings),
        },
        check=True,
    )
    checks = {each["name"]: each for each in result["checks"]}
    proved = ("workers running", "workers answer", "workers consume", "queues have consumers", "settings in effect")
    assert {name: checks[name]["evidence"] for name in proved if checks[name]["passed"] is not True} == {}
    assert checks["settings in effect"]["evidence"] == f"{len(settings) * len(names)} values read back from 5 workers"


def test_a_busy_solo_worker_is_not_killed(place: Place) -> None:
    """Longer than the silence that its liveness probe allows, three failures included, and within the time limit."""
    limits = {"silence_limit": 10, "liveness_probe": {"periodSeconds": 5}}
    pools = [{"name": "default"}, {"name": "press", "kind": "solo", "queues": ["press"], **limits}]
    (place.folder / "vars.json").write_text(
        json.dumps({"celery_worker_pools": pools, "celery_worker_queues_waived": ["post", "feeds", "hooks"]})
    )
    place.play(f"--extra-vars=@{place.folder / 'vars.json'}")
    assert {pod["metadata"]["labels"]["pool"] for pod in place.pods()} == {"default", "press"}
    (before,) = [pod for pod in place.pods() if pod["metadata"]["labels"]["pool"] == "press"]
    result = place.send("render", hold=60)["render"]
    assert result["worker"] == f"celery@{before['metadata']['name']}"
    (after,) = [pod for pod in place.pods() if pod["metadata"]["labels"]["pool"] == "press"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [status["restartCount"] for status in after["status"]["containerStatuses"]] == [0]
