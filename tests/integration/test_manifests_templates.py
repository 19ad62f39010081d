# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates and files of objects: where they are looked for, what becomes of values, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.apiserver import ApiServer
from helpers.plays import play

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

MODULE = "celeryops.platform.manifests"
CYCLE = [True, True, False, False]

# One template with what templates use: a macro of another file, a loop, a value that is a structure.
CONFIG = """\
{% import 'names.j2' as names %}
{% for name in shops %}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ names.of(name) }}
data:
  REPLICAS: "{{ replicas }}"
  PATH: 'a\\\\b'
{% endfor %}
"""
NAMES = "{% macro of(name) %}config-{{ name }}{% endmacro %}"
SCALER = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: worker}
spec:
  minReplicas: {{ replicas }}
  maxReplicas: {{ replicas + 2 }}
  scaleTargetRef: {{ target | to_json }}
"""
# A template that is one expression keeps its value, in the first line it sets Jinja's options.
EXPRESSION = """\
#jinja2:lstrip_blocks:True
{{ [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'whole'}, 'data': {'a': replicas | string}}] }}
"""
FILE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-file}\ndata: {a: '{{ not_a_template }}'}\n"


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A role `shop` beside the playbook, with a template, a folder of templates, and an encrypted file."""
    shop = tmp_path / "roles/shop"
    written(
        shop,
        {
            "templates/config.yml.j2": CONFIG,
            "templates/names.j2": NAMES,
            "templates/more/20-scaler.yaml.j2": SCALER,
            "templates/more/10-whole.yml.j2": EXPRESSION,
            "templates/more/README.md": "no object",
            "files/config.yml": FILE,
        },
    )
    (tmp_path / "password").write_text("secret", encoding="ascii")
    subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-vault"),
            *("encrypt", "--vault-password-file", str(tmp_path / "password"), str(shop / "files/config.yml")),
        ],
        check=True,
        capture_output=True,
    )
    return shop


def test_templates_and_files_of_a_role(
    api: Api, api_server: ApiServer, namespace: str, role: Path, tmp_path: Path
) -> None:
    """Check, apply, check, apply in one play: what is rendered is typed, and the second time unchanged."""
    tasks = [
        {
            MODULE: {"template": ["config.yml.j2", "more"], "src": ["config.yml"], "namespace": namespace},
            "check_mode": number % 2 == 0,
            "register": f"run{number}",
        }
        for number in range(4)
    ]
    written(role, {"tasks/main.yml": yaml.safe_dump(tasks)})
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}
    with play(
        tmp_path,
        [{"ansible.builtin.include_role": {"name": "shop"}}],
        *("--vault-password-file", str(tmp_path / "password")),
        results=[f"run{number}" for number in range(4)],
        defaults={"kubeconfig": str(api_server.kubeconfig)},
        vars={"shops": ["gold", "silver"], "replicas": 2, "target": target},
    ) as running:
        running.end()
    assert running.process.returncode == 0, "\n".join(running.output)
    found = [running.results[f"run{number}"] for number in range(4)]
    assert [run["changed"] for run in found] == CYCLE
    names = sorted(entry["name"] for entry in found[1]["objects"])
    assert names == ["config-gold", "config-silver", "from-file", "whole", "worker"]
    config = api.get(ObjectRef("v1", "ConfigMap", "config-gold", namespace))
    assert config is not None
    assert config["data"] == {"REPLICAS": "2", "PATH": "a\\\\b"}
    from_file = api.get(ObjectRef("v1", "ConfigMap", "from-file", namespace))
    assert from_file is not None
    assert from_file["data"] == {"a": "{{ not_a_template }}"}
    scaler = api.get(ObjectRef("autoscaling/v2", "HorizontalPodAutoscaler", "worker", namespace))
    assert scaler is not None
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 4)


BAD = {
    "undefined.yml": ("a: 1\nb: {{ nowhere }}\n", ["undefined.yml cannot be rendered", "line 2: 'nowhere' is undef"]),
    "indirect.yml": ("a: {{ indirect }}\n", ["'nowhere' is undefined (in ", "play.yml:"]),
    "attribute.yml": ("{% set x = {} %}\na: {{ x.y }}\n", ["line 2: object of type 'dict' has no attribute 'y'"]),
    "syntax.yml": ("a: 1\n\nb: {% if %}\n", ["syntax.yml cannot be rendered", "line 3: Syntax error"]),
    "failing.yml": ("a: 1\nb: {{ 1 / 0 }}\n", ["line 2: ", "division by zero"]),
    "yaml.yml": (
        "---\na: 1\n---\nb: c: d\n",
        ["yaml.yml, line 4, column 5 as rendered: mapping values are not allowed"],
    ),
    "object.yml": (
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n\nkind: Secret\n---\n- 1\n",
        [
            "object.yml, document 2 (line 7 as rendered): Secret lacks apiVersion, metadata.name",
            "object.yml, document 3 (line 9 as rendered): a mapping is expected, found list",
        ],
    ),
    "absent.yml": (None, ["absent.yml does not exist on the controller"]),
    "empty": ({"empty/values.json": "{}"}, ["holds no template", "values.json"]),
}


def test_what_is_wrong_is_named(api_server: ApiServer, namespace: str, tmp_path: Path) -> None:
    for name, (content, _told) in BAD.items():
        if content is not None:
            written(tmp_path / "templates", content if isinstance(content, dict) else {name: content})
    tasks: list[dict[str, Any]] = [
        {
            MODULE: {"template": [name], "namespace": namespace},
            "register": name.partition(".")[0],
            "ignore_errors": True,
        }
        for name in BAD
    ]
    src = {MODULE: {"src": ["absent.yml"], "namespace": namespace}, "register": "src", "ignore_errors": True}
    with play(
        tmp_path,
        [*tasks, src],
        defaults={"kubeconfig": str(api_server.kubeconfig)},
        vars={"indirect": "{{ nowhere }}"},
    ) as running:
        running.end()
    assert running.process.returncode == 0, "\n".join(running.output)
    for name, (_content, told) in BAD.items():
        result = running.results[name.partition(".")[0]]
        assert result["failed"], name
        assert (result["changed"], result["objects"], result["progress"]) == (False, [], [])
        for text in told:
            assert text in result["msg"]
        assert result["error"]["remedy"]
    assert "absent.yml does not exist on the controller" in running.results["src"]["msg"]
