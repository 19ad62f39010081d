# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role redis applies with a certificate and without one, rendered by Ansible itself."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment
from ansible_collections.celeryops.platform.plugins.module_utils._beat.argspec import APP_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._redis.cluster import find
from ansible_collections.celeryops.platform.plugins.module_utils._redis.goal import CA_FILE

ROLES = Path(__file__).resolve().parents[4] / "roles"
TEMPLATES = ("redis.yml.j2", "sentinel.yml.j2", "proxy.yml.j2", "running.yml.j2")
APPLICATION = ("celery_app", "celery_pod")
END = "shop.svc.cluster.local"

Json = dict[str, Any]


def rendered(folder: Path, variables: Json) -> Json:
    """Objects by kind and name, and what the roles of the application make of the same variables."""
    role = folder / "roles" / "redis"
    (role / "tasks").mkdir(parents=True)
    for part in ("templates", "files", "defaults", "vars"):
        (role / part).symlink_to(ROLES / "redis" / part)
    texts = ", ".join(f"lookup('ansible.builtin.template', '{name}')" for name in TEMPLATES)
    said = f"'texts': [{texts}], 'volumes': celery_pod_volumes, 'init': celery_pod_init_containers"
    content = f"{{{{ {{{said}, 'job': __celery_app_pod, 'names': __redis_tls_names}} | to_json }}}}"
    tasks = [{"ansible.builtin.copy": {"content": content, "dest": f"{folder}/said.json", "mode": "0600"}}]
    (role / "tasks" / "main.yml").write_text(json.dumps(tasks), encoding="utf-8")
    images = {name: f"{name}:1" for name in ("redis", "haproxy", "app")}
    files = [
        f"{ROLES}/{name}/{place}"
        for name in APPLICATION
        for place in ("defaults/main/main.yml", "defaults/main.yml", "vars/main.yml")
        if (ROLES / name / place).exists()
    ]
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "artifacts_images": images,
            "platform_namespace": "shop",
            **variables,
        },
        "vars_files": files,
        "roles": ["redis"],
    }
    (folder / "play.json").write_text(json.dumps([play]), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "play.json"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_ROLES_PATH": f"{folder}/roles"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: Json = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    *applied, stopped = ([one for one in yaml.safe_load_all(text) if one] for text in found["texts"])
    objects = {f"{one['kind']}/{one['metadata']['name']}": one for part in applied for one in part}
    return {**found, "objects": objects, "stopped": stopped}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Json:
    return rendered(tmp_path_factory.mktemp("plain"), {})


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Json:
    return rendered(tmp_path_factory.mktemp("secured"), {"redis_tls_secret": "our-tls"})


def pod(objects: Json, workload: str) -> Json:
    return dict(objects[workload]["spec"]["template"]["spec"])


def environment(spec: Json) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in spec["containers"][0]["env"]}


WORKLOADS = ("StatefulSet/redis", "StatefulSet/redis-sentinel", "Deployment/redis-proxy")


def test_without_a_certificate_nothing_speaks_of_one(plain: Json) -> None:
    for workload in WORKLOADS:
        spec = pod(plain["objects"], workload)
        assert {"REDIS_TLS", "LOCALDOMAIN"}.isdisjoint(environment(spec))
        assert "tls" not in {one["name"] for one in spec["volumes"]}
    haproxy = plain["objects"]["ConfigMap/redis-proxy-config"]["data"]["haproxy.cfg"]
    assert "ssl" not in haproxy
    assert "  tcp-check connect\n" in haproxy
    assert haproxy.startswith("# A client of port 6379")
    assert f"  server redis-0 redis-0.redis-headless.{END}:6379 check on-marked-down shutdown-sessions\n" in haproxy
    assert environment(pod(plain["objects"], WORKLOADS[0]))["REDIS_HOSTS"].split()[2].endswith(f".{END}.")
    assert "redis-tls" not in json.dumps([plain["volumes"], plain["init"], plain["job"]])


@pytest.mark.parametrize(
    ("workload", "keys"),
    [*((name, 3) for name in WORKLOADS[:2]), (WORKLOADS[2], 1)],
    ids=["redis", "sentinel", "proxy"],
)
def test_with_one_every_pod_has_what_it_needs_of_it(secured: Json, workload: str, keys: int) -> None:
    spec = pod(secured["objects"], workload)
    (volume,) = (one for one in spec["volumes"] if one["name"] == "tls")
    items = [one["key"] for one in volume["secret"]["items"]]
    assert (volume["secret"]["secretName"], volume["secret"]["defaultMode"]) == ("our-tls", 0o440)
    assert items == ["ca.crt", "tls.crt", "tls.key"][:keys]
    (mount,) = (one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "tls")
    assert mount["mountPath"] == environment(spec)["REDIS_TLS"]
    # What the final dot of a name says without TLS.
    assert environment(spec)["LOCALDOMAIN"] == ""


def test_sentinel_is_asked_whether_it_lives_in_a_way_that_it_does_not_log(plain: Json, secured: Json) -> None:
    for objects, how in ((plain["objects"], "tcpSocket"), (secured["objects"], "exec")):
        (container,) = pod(objects, WORKLOADS[1])["containers"]
        for probe, seconds in (("startupProbe", 1), ("livenessProbe", 10)):
            assert how in container[probe]
            assert container[probe]["periodSeconds"] == seconds


def test_no_name_has_a_dot_at_its_end_that_no_certificate_has(secured: Json) -> None:
    variables = environment(pod(secured["objects"], WORKLOADS[0]))
    for name in ("REDIS_HOSTS", "SENTINEL_HOSTS"):
        assert all(host.endswith(f".{END}") for host in variables[name].split())
    assert secured["names"] == [
        *(f"redis-{number}.redis-headless.{END}" for number in range(3)),
        *(f"redis-sentinel-{number}.redis-sentinel.{END}" for number in range(3)),
        f"redis.{END}",
        f"redis-master.{END}",
    ]


def test_each_check_of_the_proxy_wants_the_name_of_whom_it_asks(secured: Json) -> None:
    haproxy = secured["objects"]["ConfigMap/redis-proxy-config"]["data"]["haproxy.cfg"]
    servers = re.findall(r"^  server \S+ (\S+):\d+ check (.*)$", haproxy, re.M)
    assert len(servers) == 3 + 3 * 3
    for name, options in servers:
        assert f"check-ssl verify required ca-file /etc/redis-tls/ca.crt check-sni {name} verifyhost {name}" in options
        # Of the check alone: what clients send passes through as it is.
        assert " ssl " not in f" {options} "
    assert haproxy.count("  tcp-check connect default\n") == 6


def test_the_application_finds_the_authority_where_its_urls_say(secured: Json) -> None:
    for volumes, container in (
        *((secured["volumes"], one) for one in secured["init"]),
        (secured["job"]["volumes"], {"volumeMounts": secured["job"]["volume_mounts"]}),
    ):
        (volume,) = (one for one in volumes if "secret" in one)
        assert volume["secret"] == {"secretName": "our-tls", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        folders = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == volume["name"]]
        assert [f"{folder}/ca.crt" for folder in folders] == [CA_FILE]


@dataclass
class Found:
    """The part of the API server that is asked for them."""

    objects: Json

    def get(self, ref: ObjectRef) -> Json | None:
        if ref.kind == "Secret":
            return {"data": {"password": "", "ca.crt": base64.b64encode("für uns\nPEM".encode()).decode()}}
        return dict(self.objects.get(f"{ref.kind}/{ref.name}") or {}) or None

    def list(self, *_words: str, **_options: str) -> list[Json]:
        return []


def test_the_modules_find_out_whether_servers_speak_tls(plain: Json, secured: Json) -> None:
    params = {
        "namespace": "shop",
        "statefulset": "redis",
        "port": 6379,
        "cluster_domain": "cluster.local",
        "timeout": 3,
    }
    params |= {"password_secret": {"name": "redis-auth", "key": "password"}, "sentinel": {"statefulset": "none"}}
    without, cluster = (find(cast(Api, Found(place["objects"])), params) for place in (plain, secured))
    assert without is not None
    assert cluster is not None
    assert (without.ca, without.client_options) == ("", ())
    # Python takes nothing but ASCII.
    assert (cluster.ca, cluster.client_options) == ("fr uns\nPEM", ("--tls", "--cacert", CA_FILE))


def test_a_pod_that_lives_as_long_as_a_task_has_it_too(secured: Json) -> None:
    params = {name: option.get("default") for name, option in APP_ARGS.items()} | secured["job"]
    spec = shipment.manifest("look", params, {})["spec"]
    assert spec["volumes"] == secured["job"]["volumes"]
    assert spec["containers"][0]["volumeMounts"] == secured["job"]["volume_mounts"]


def test_what_is_stopped_is_all_pods_after_who_would_make_them_anew(secured: Json) -> None:
    stopped = [f"{one['kind']}/{one['metadata']['name']}" for one in reversed(secured["stopped"])]
    assert stopped[:2] == ["StatefulSet/redis-sentinel", "StatefulSet/redis"]
    assert sorted(stopped[2:]) == sorted(
        f"Pod/{name}-{number}" for name in ("redis", "redis-sentinel") for number in range(3)
    )
