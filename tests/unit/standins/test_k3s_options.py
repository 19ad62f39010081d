# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in for k3s takes from command line, environment and files, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from standins.k3s.k3s_standin.options import COMMANDS, TABLE, UsageError, merge_files, parse


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file's path; with it no file of this machine is read."""
    path = tmp_path / "config.yaml"
    path.write_text("")
    return path


def write(config: Path, **files: str) -> None:
    """`main` is the file itself, other names are drop-ins."""
    folder = Path(f"{config}.d")
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (config if name == "main" else folder / f"{name}.yaml").write_text(text)


def test_the_documented_example_of_several_files_gives_the_documented_result(config: Path) -> None:
    write(
        config,
        main="token: boop\nnode-label:\n  - foo=bar\n  - bar=baz\n",
        test1="write-kubeconfig-mode: 600\nnode-taint:\n  - alice=bob:NoExecute\n",
        test2="write-kubeconfig-mode: 777\nnode-label:\n  - other=what\n  - foo=three\n"
        "node-taint+:\n  - charlie=delta:NoSchedule\n",
    )
    options = parse("server", [f"--config={config}"], {})
    assert dict(options.values) == {
        "config": str(config),
        "write-kubeconfig-mode": "777",
        "token": "boop",
        "node-label": ["other=what", "foo=three"],
        "node-taint": ["alice=bob:NoExecute", "charlie=delta:NoSchedule"],
    }


def test_a_key_without_plus_replaces_what_was_appended_before() -> None:
    files = [("a", {"tls-san": ["one"]}), ("b", {"tls-san+": ["two"]}), ("c", {"tls-san": ["three"]})]
    assert merge_files(files[:2]) == {"tls-san": ["one", "two"]}
    assert merge_files(files) == {"tls-san": ["three"]}


def test_the_command_line_wins_over_the_environment_and_that_over_files(config: Path) -> None:
    write(config, main="token: of-the-file\nnode-name: of-the-file\nnode-label: [a=file]\ncluster-init: true\n")
    environment = {"K3S_TOKEN": "of-the-environment", "K3S_NODE_NAME": "of-the-environment"}
    options = parse("server", ["-c", str(config), "--token", "of-the-line", "--node-label=b=line"], environment)
    assert (options["token"], options["node-name"]) == ("of-the-line", "of-the-environment")
    # A list given on the command line replaces the whole list.
    assert options["node-label"] == ["b=line"]
    assert options["cluster-init"] is True
    assert options["cluster-cidr"] == ["10.42.0.0/16"]


def test_the_environment_names_the_file(config: Path) -> None:
    write(config, main="node-name: n\n")
    assert parse("server", [], {"K3S_CONFIG_FILE": str(config)})["node-name"] == "n"


def test_a_flag_may_be_repeated_and_some_take_commas(config: Path) -> None:
    arguments = [f"--config={config}", "--disable=traefik,servicelb", "--disable", "local-storage"]
    options = parse("server", [*arguments, "--kubelet-arg=a=1,2", "--kubelet-arg=b=3"], {})
    assert options["disable"] == ["traefik", "servicelb", "local-storage"]
    assert options["kubelet-arg"] == ["a=1,2", "b=3"]


AGENT = ["--server=https://192.0.2.1:6443", "--token=t"]


@pytest.mark.parametrize(
    ("command", "arguments", "environment", "file", "words"),
    [
        ("server", ["--tls-sans=x"], {}, "", "flag provided but not defined: -tls-sans"),
        ("server", [], {}, "tls-sans: [x]\n", "Unknown flag --tls-sans found in config.yaml"),
        ("agent", [*AGENT, "--cluster-init"], {}, "", "flag provided but not defined: -cluster-init"),
        ("agent", AGENT, {}, "cluster-init: true\n", "flag provided but not defined: -cluster-init"),
        ("server", [], {"K3S_TOKENS": "x"}, "", "environment variable not documented by k3s: K3S_TOKENS"),
        ("server", ["--token"], {}, "", "flag needs an argument: -token"),
        ("server", ["cluster-init"], {}, "", "unexpected argument: cluster-init"),
        ("server", [], {}, "cluster-init: perhaps\n", 'invalid boolean value "perhaps" for -cluster-init'),
        ("server", [], {}, "token: [a]\n", "invalid value for -token: expected one value"),
        ("server", [], {}, "- token\n", "expected a mapping, found list"),
        ("server", ["--disable=traefic"], {}, "", "invalid value traefic for --disable"),
        ("server", ["--flannel-backend=calico"], {}, "", "invalid flannel-backend 'calico'"),
        ("server", ["--datastore-endpoint=mysql://x"], {}, "", "which would only pretend: datastore-endpoint"),
        ("server", ["--cluster-reset-restore-path=/x"], {}, "", "--cluster-reset required"),
        ("agent", ["--server=https://192.0.2.1:6443"], {}, "", "--token is required"),
        ("agent", ["--token=t"], {}, "", "--server is required"),
    ],
)
def test_what_k3s_does_not_document_is_refused(
    config: Path, command: str, arguments: list[str], environment: dict[str, str], file: str, words: str
) -> None:
    write(config, main=file)
    with pytest.raises(UsageError) as refused:
        parse(command, [f"--config={config}", *arguments], environment)
    assert words in str(refused.value)


def test_a_snapshot_command_reads_past_the_servers_own_keys_and_knows_its_aliases(config: Path) -> None:
    write(config, main="cluster-init: true\netcd-snapshot-dir: /of/the/file\n")
    options = parse("etcd-snapshot", [f"--config={config}", "--name=before", "--dir=/of/the/line", "one", "two"], {})
    assert (options["etcd-snapshot-dir"], options["name"], options.arguments) == (
        "/of/the/line",
        "before",
        ("one", "two"),
    )
    with pytest.raises(UsageError, match="retain"):
        parse("etcd-snapshot", [f"--config={config}", "--retain=1"], {})


def test_flags_without_effect_are_told(config: Path) -> None:
    options = parse("server", [f"--config={config}", "--enable-pprof", "--tls-san=x"], {})
    assert options.without_effect() == ["enable-pprof"]


def test_the_table_speaks_of_documented_flags_only_and_names_its_sources() -> None:
    groups = {group for names in COMMANDS.values() for group in names}
    documented = {name for group in groups for kind in ("bool", "value", "list") for name in TABLE[group][kind]}
    for part in ("critical", "split", "choices", "defaults", "refused", "modelled"):
        assert set(TABLE[part]) <= documented, part
    assert set(TABLE["short"].values()) | set(TABLE["environment"].values()) <= documented
    assert not set(TABLE["refused"]) & set(TABLE["modelled"])
    assert all("k3s-io/" in source for source in TABLE["sources"].values())
