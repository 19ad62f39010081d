# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``k3s server``: forms a cluster, joins one or takes up where it stopped; and ``--cluster-reset``."""

from __future__ import annotations

import json
import secrets
import shutil
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .controlplane import API_PORT, ControlPlane, cluster_config, etcd_name
from .etcd import Etcd, Member
from .https import Client, HttpError
from .node import Node
from .options import TABLE, Options
from .packaged import NOT_CARRIED, base_objects, coredns, local_storage
from .processes import Children, Fatal, log, notify, run, wait_until
from .relay import Listener
from .release import Release
from .supervisor import JoinError, Supervisor, ask
from .tokens import Token, TokenError, ca_hash, parse_token

__all__ = ["run_server"]

_ROLES = ("control-plane", "etcd")
_MERGE = "application/merge-patch+json"
_RESET = "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now."


def run_server(options: Options, release: Release) -> None:
    """Serve until asked to end, or reset the cluster and return. Raises Fatal."""
    programs = release.stage(options.data)
    children = Children(programs)
    children.obey_signals()
    node = Node(options, release, children, programs)
    plane = ControlPlane(options, cluster_config(options, release), node, children)
    server = _Server(options, release, plane, programs)
    try:
        if options["cluster-reset"]:
            server.reset()
        else:
            server.serve()
    finally:
        children.stop()


class _Server:
    def __init__(self, options: Options, release: Release, plane: ControlPlane, programs: Path) -> None:
        self._options, self._release, self._plane, self._programs = options, release, plane, programs
        self._folder, self._node, self._children = plane.folder, plane.node, plane.children
        self._seen: set[str] = set()

    def serve(self) -> None:
        plane, node, children = self._plane, self._node, self._children
        token = self._token()
        joined = self._join(token)
        plane.pki.make_authorities()
        plane.issue()
        agent_token = parse_token(_given(self._options, "agent-token") or token.password)
        self._check_ca(token)
        etcd = self._start_etcd(joined)
        plane.reconcile(etcd, token)
        (self._folder / "db/reset-flag").unlink(missing_ok=True)
        self._write_tokens(token, agent_token)
        api = plane.admin()
        serving = (plane.pki.path("serving-kube-apiserver.crt"), plane.pki.path("serving-kube-apiserver.key"))
        tokens = (token, agent_token)
        supervisor = Supervisor(plane.pki, tokens, plane.config, api, lambda: _answers(api), node.address)
        Listener(plane.pki, serving, supervisor, API_PORT).serve("0.0.0.0", int(self._options["https-listen-port"]))  # noqa: S104
        plane.start_api()
        plane.start_controllers()
        plane.write_kubeconfig(self._programs / "kubectl")
        self._deploy(api)
        answer = ask(f"https://127.0.0.1:{self._options['https-listen-port']}", token.password, "/v1-k3s/config",
                     node.identity())  # fmt: skip
        node.take(answer["files"])
        node.start(plane.config, f"https://127.0.0.1:{API_PORT}")
        log("info", "k3s is up and running")
        notify("READY=1")
        while not children.stopping.wait(2):
            if gone := children.ended():
                raise Fatal(f"{gone} ended")
            node.tick()
            self._tick(api, etcd)

    def reset(self) -> None:
        """Become the only member, with the data at hand or with a snapshot's, and end."""
        plane, flag = self._plane, self._folder / "db/reset-flag"
        if self._options["server"]:
            raise Fatal(
                "cannot perform cluster-reset while server URL is set - remove server from configuration before "
                "resetting"
            )
        if flag.exists():
            raise Fatal(
                "cluster reset was successfully performed, please remove the cluster-reset flag and start k3s "
                "normally, if you need to perform another cluster reset, you must first manually delete the "
                f"{flag} file"
            )
        if not (self._folder / "token").exists() and not _given(self._options, "token"):
            raise Fatal(f"{self._folder}/token does not exist, please pass --token to complete the restoration")
        token = self._token()
        plane.pki.make_authorities()
        plane.issue()
        if self._options["cluster-reset-restore-path"]:
            self._restore(Path(self._options["cluster-reset-restore-path"]))
            etcd = plane.start_etcd()
        else:
            etcd = plane.start_etcd(None, "--force-new-cluster")
        plane.reconcile(etcd, token)
        self._children.stop()
        flag.touch()
        log("info", f"{_RESET} Backup and delete ${{datadir}}/server/db on each peer etcd server and rejoin the nodes")

    def _token(self) -> Token:
        given, file = _given(self._options, "token"), self._folder / "token"
        try:
            if given:
                return parse_token(given)
            return parse_token(file.read_text().strip()) if file.exists() else Token(secrets.token_hex(16))
        except TokenError as error:
            raise Fatal(f"Error: preparing server: {error}") from error

    def _check_ca(self, token: Token) -> None:
        try:
            token.check_ca(self._plane.pki.path("server-ca.crt").read_bytes())
        except TokenError as error:
            raise Fatal(f"Error: preparing server: failed to bootstrap cluster data: {error}") from error

    def _write_tokens(self, token: Token, agent: Token) -> None:
        ca = ca_hash(self._plane.pki.path("server-ca.crt").read_bytes())
        for name, each in (("token", token), ("agent-token", agent)):
            path = self._folder / name
            if name == "agent-token" and agent.password == token.password:
                path.unlink(missing_ok=True)
                path.symlink_to("token")
                continue
            if path.is_symlink():
                path.unlink()
            path.touch(0o600)
            path.write_text(f"{Token(each.password).full(ca, 'server' if name == 'token' else 'node')}\n")
        link = self._folder / "node-token"
        if not link.is_symlink():
            link.symlink_to("token")

    def _join(self, token: Token) -> dict[str, Any] | None:
        """What the cluster behind --server hands to a new member; nothing for one that is a member or begins it."""
        url = self._options["server"]
        if not url or (self._plane.etcd_folder / "member").exists():
            return None
        try:
            text = token.full(token.ca) if token.ca else token.password
            answer: dict[str, Any] = ask(url, text, "/v1-k3s/server-bootstrap")
        except JoinError as error:
            raise Fatal(f"Error: preparing server: failed to bootstrap cluster data: {error}") from error
        self._agree(answer["config"])
        self._plane.pki.unpack(answer["bundle"])
        return answer

    def _agree(self, config: Mapping[str, Any]) -> None:
        different = [name for name in TABLE["critical"] if config[name] != self._plane.config[name]]
        for name in different:
            log("warning", f"critical configuration mismatched: {name}")
        if different:
            raise Fatal(
                "Error: preparing server: failed to bootstrap cluster data: failed to validate server configuration: "
                "critical configuration value mismatch between servers"
            )

    def _start_etcd(self, joined: Mapping[str, Any] | None) -> Etcd:
        plane = self._plane
        self._migrate()
        if joined is None:
            return plane.start_etcd()
        remote = Etcd(plane.pki, f"https://{joined['address']}:2379")
        members = [each for each in remote.members() if each.peer != plane.peer or each.name]
        stale = next((each for each in members if each.peer == plane.peer), None)
        if stale:
            # The same address under another name: a server that comes back without its data.
            remote.remove(stale)
        # A member that was announced by a start that did not get far is taken up again.
        announced = any(each.peer == plane.peer and not each.name for each in remote.members())
        found: list[Member] = []

        def added() -> bool:
            # etcd takes one change of membership at a time, and none while a new member still catches up.
            try:
                found[:] = remote.members() if announced else remote.add(plane.peer)
            except HttpError as error:
                log("info", f"Waiting to join etcd: {error.text}")
                return False
            return True

        wait_until(self._children, added, "joining etcd", 300)
        return plane.start_etcd(found)

    def _migrate(self) -> None:
        """A server that began without --cluster-init keeps its data apart, as k3s's SQLite is; the flag moves it."""
        etcd, alone = self._plane.etcd_folder, self._folder / "db/state.db"
        clustered = self._options["cluster-init"] or self._options["server"]
        if (etcd / "member").exists():
            return
        if alone.exists() and clustered:
            shutil.rmtree(etcd, ignore_errors=True)
            alone.rename(etcd)
        elif not clustered:
            self._plane.etcd_folder = alone

    def _restore(self, snapshot: Path) -> None:
        if not snapshot.exists():
            raise Fatal(f"etcd: snapshot path does not exist: {snapshot}")
        plane, folder = self._plane, self._plane.etcd_folder
        name = etcd_name(folder, self._node.name)
        source = snapshot
        if zipfile.is_zipfile(snapshot):
            with zipfile.ZipFile(snapshot) as archive:
                source = Path(archive.extract(archive.namelist()[0], self._folder / "db"))
        if (folder / "member").exists():
            folder.rename(folder.with_name(f"etcd-old-{int(time.time())}"))
        else:
            shutil.rmtree(folder, ignore_errors=True)
        run(
            [
                str(self._programs / "etcdutl"),
                *("snapshot", "restore", str(source)),
                f"--data-dir={folder}",
                f"--name={name}",
                f"--initial-cluster={name}={plane.peer}",
                f"--initial-advertise-peer-urls={plane.peer}",
            ]
        )
        (folder / "name").write_text(name)
        if source != snapshot:
            source.unlink()

    def _deploy(self, api: Client) -> None:
        config, disabled = self._plane.config, self._options["disable"]
        volumes = self._options["default-local-storage-path"] or f"{self._options.data}/storage"
        components: dict[str, list[dict[str, Any]]] = {"standin": base_objects()}
        if "coredns" not in disabled:
            components["coredns"] = coredns(self._release, config["cluster-dns"], config["cluster-domain"])
        if "local-storage" not in disabled:
            components["local-storage"] = local_storage(self._release, volumes)
        manifests = self._folder / "manifests"
        manifests.mkdir(exist_ok=True)
        for file in manifests.glob("*.json"):
            # k3s removes what it deployed before it was told not to.
            if file.stem not in components:
                self._kubectl(json.loads(file.read_text())["items"], "delete", "--ignore-not-found", "--wait=false")
                file.unlink()
        # What this cluster was given before is not given again: kubectl takes its time.
        wait_until(self._children, lambda: bool(_system(api)), "namespace kube-system", 60)
        cluster = _system(api)
        for name, each in components.items():
            file, content = manifests / f"{name}.json", json.dumps({"cluster": cluster, "items": each})
            if not file.exists() or file.read_text() != content:
                self._kubectl(each, "apply", "--server-side", "--force-conflicts", "--field-manager=deploy@k3s")
                file.write_text(content)
        if missing := [name for name in NOT_CARRIED if name not in disabled]:
            log("warning", f"packaged components that the stand-in does not carry: {', '.join(missing)}")

    def _kubectl(self, objects: list[dict[str, Any]], *arguments: str) -> None:
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        config = f"--kubeconfig={self._folder}/cred/admin.kubeconfig"
        run([str(self._programs / "kubectl"), config, *arguments, "-f", "-"], text=content)

    def _tick(self, api: Client, etcd: Etcd) -> None:
        """Label this server's Node, and forget nodes that were deleted: their etcd member and their password."""
        try:
            nodes = {each["metadata"]["name"]: each for each in api.json("GET", "/api/v1/nodes")["items"]}
            if self._node.name in nodes:
                self._label(api, nodes[self._node.name])
            for name in self._seen - nodes.keys():
                self._forget(api, etcd, name)
            self._seen = set(nodes)
        except (OSError, HttpError) as error:
            log("debug", f"API server: {error}")

    def _label(self, api: Client, node: Mapping[str, Any]) -> None:
        roles = _ROLES if self._plane.etcd_folder.name == "etcd" else _ROLES[:1]
        labels = {f"node-role.kubernetes.io/{role}": "true" for role in roles}
        if not labels.items() <= node["metadata"].get("labels", {}).items():
            api.json("PATCH", f"/api/v1/nodes/{self._node.name}", {"metadata": {"labels": labels}}, _MERGE)

    def _forget(self, api: Client, etcd: Etcd, name: str) -> None:
        log("info", f"Node {name} was deleted")
        if name != self._node.name:
            for member in etcd.members():
                if member.name.rsplit("-", 1)[0] == name:
                    log("info", f"Removing name={member.name} from etcd")
                    etcd.remove(member)
        try:
            api.request("DELETE", f"/api/v1/namespaces/kube-system/secrets/{name}.node-password.k3s", None, {})
        except HttpError as error:
            if error.status != 404:
                raise


def _given(options: Options, name: str) -> str:
    """A token from its flag or from the file that its ``-file`` flag names."""
    value, file = options[name], options[f"{name}-file"]
    return str(value or (Path(file).read_text().strip() if file else ""))


def _system(api: Client) -> str:
    """The identity of the namespace kube-system, which is the cluster's own; empty before it exists."""
    try:
        return str(api.json("GET", "/api/v1/namespaces/kube-system")["metadata"]["uid"])
    except (OSError, HttpError):
        return ""


def _answers(api: Client) -> bool:
    try:
        return api.get("/readyz") == b"ok"
    except (OSError, HttpError):
        return False
