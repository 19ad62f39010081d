# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module kubeconfig on real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.modules import run_module

SOURCE = """\
apiVersion: v1
kind: Config
current-context: default
clusters:
- name: default
  cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: Q0E=}
users:
- name: default
  user: {client-certificate-data: Q0VSVA==, client-key-data: U0VDUkVU}
contexts:
- name: default
  context: {cluster: default, user: default}
"""
OTHERS = """\
apiVersion: v1
kind: Config
preferences: {}
clusters:
- cluster:
    server: https://laptop:6443
  name: laptop
contexts:
- context:
    cluster: laptop
    namespace: mine
    user: me
  name: laptop
current-context: laptop
users:
- name: me
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: Never}
"""


def module(path: Path, *, check: bool = False, **options: Any) -> dict[str, Any]:
    args = {"name": "shop", "path": str(path), "content": SOURCE, "server": "https://10.0.0.1:6443", **options}
    return run_module("kubeconfig", args, check=check, diff=True)


@pytest.mark.parametrize("others", [OTHERS, "", None])
def test_a_context_is_put_in_and_taken_out(tmp_path: Path, others: str | None) -> None:
    path = tmp_path / ".kube/config"
    if others is not None:
        path.parent.mkdir()
        path.write_text(others)
    before = yaml.safe_load(others or "") or {}
    outcomes = [module(path, check=check) for check in (True, False, True, False)]
    assert [outcome["changed"] for outcome in outcomes] == [True, True, False, False]
    assert outcomes[1]["contexts"] == [*(["laptop"] if others else []), "shop"]
    assert outcomes[1]["current"] == ("laptop" if others else "shop")
    assert "U0VDUkVU" not in json.dumps(outcomes)
    after = yaml.safe_load(path.read_text())
    assert after["clusters"][-1]["cluster"] == {
        "server": "https://10.0.0.1:6443",
        "certificate-authority-data": "Q0E=",
    }
    assert after["users"][-1]["user"]["client-key-data"] == "U0VDUkVU"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["config"]
    gone = [module(path, check=check, state="absent") for check in (True, False, True, False)]
    assert [outcome["changed"] for outcome in gone] == [True, True, False, False]
    if others:
        assert yaml.safe_load(path.read_text()) == before


def test_nothing_to_take_out_makes_no_file(tmp_path: Path) -> None:
    assert not module(tmp_path / "config", state="absent")["changed"]
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(OTHERS)
    (tmp_path / "config").symlink_to("real")
    assert module(tmp_path / "config")["changed"]
    assert (tmp_path / "config").is_symlink()
    assert "shop" in (tmp_path / "real").read_text()


def test_an_address_that_changed(tmp_path: Path) -> None:
    module(tmp_path / "config")
    assert module(tmp_path / "config", server="https://10.0.0.9:6443")["changed"]
    assert "10.0.0.9" in (tmp_path / "config").read_text()


@pytest.mark.parametrize(
    ("there", "content", "said"),
    [
        ("clusters: [", SOURCE, "is no YAML"),
        ("just text", SOURCE, "is no kubeconfig"),
        (OTHERS, "key: [U0VDUkVU", "a syntax error in line"),
        (OTHERS, "clusters: []", "no complete current context"),
        (OTHERS.replace("cluster: laptop", "cluster: shop"), SOURCE, "that other contexts use"),
    ],
)
def test_bad_input_changes_nothing(tmp_path: Path, there: str, content: str, said: str) -> None:
    path = tmp_path / "config"
    path.write_text(there)
    result = module(path, content=content)
    assert result["failed"]
    assert said in result["msg"]
    assert set(result["error"]) >= {"expected", "found", "remedy"}
    assert "U0VDUkVU" not in json.dumps(result)
    assert path.read_text() == there


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = module(tmp_path / "file/config")
    assert result["failed"]
    assert "cannot be read" in result["msg"] or "cannot be written" in result["msg"]


def test_content_is_needed(tmp_path: Path) -> None:
    result = run_module("kubeconfig", {"name": "shop", "path": str(tmp_path / "config")})
    assert "content" in result["msg"]
