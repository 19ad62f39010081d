# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``k3s etcd-snapshot save | ls | delete | prune``."""

from __future__ import annotations

import json
import socket
import time
import zipfile
from pathlib import Path

from .etcd import Etcd
from .options import Options, UsageError
from .pki import Pki
from .processes import Fatal, log

__all__ = ["ACTIONS", "run_snapshot"]

ACTIONS = {"save": "save", "delete": "delete", "ls": "ls", "list": "ls", "l": "ls", "prune": "prune"}


def run_snapshot(action: str, options: Options) -> None:
    """Carry out one of ACTIONS. Raises Fatal or UsageError."""
    folder = Path(options["etcd-snapshot-dir"] or options.data / "server/db/snapshots")
    node = options["node-name"] or socket.gethostname().lower()
    if action != "delete" and options.arguments:
        raise UsageError(f"Too many arguments: {' '.join(options.arguments)}")
    if action == "save":
        _save(options, folder, node)
    elif action == "ls":
        _list(folder, node, options["output"])
    elif action == "delete":
        _delete(folder, options.arguments)
    else:
        prefix = f"{options['name'] or 'on-demand'}-{node}-"
        for path in _sorted(folder, prefix)[int(options["etcd-snapshot-retention"]) :]:
            _delete(folder, (path.name,))


def _save(options: Options, folder: Path, node: str) -> None:
    server = options.data / "server"
    if not (server / "db/etcd/member").exists():
        raise Fatal("etcd datastore disabled")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{options['name'] or 'on-demand'}-{node}-{int(time.time())}"
    Etcd(Pki(server / "tls")).snapshot(path)
    if options["etcd-snapshot-compress"]:
        packed = path.with_name(f"{path.name}.zip")
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, path.name)
        path.unlink()
        path = packed
    path.chmod(0o600)
    log("info", f"Snapshot {path.name} saved.")


def _list(folder: Path, node: str, output: str) -> None:
    found = _sorted(folder, "")
    stamps = {path: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(path.stat().st_mtime)) for path in found}
    if output == "json":
        items = [
            {
                "apiVersion": "k3s.cattle.io/v1",
                "kind": "ETCDSnapshotFile",
                "metadata": {"name": f"local-{path.name}"},
                "spec": {"snapshotName": path.name, "nodeName": node, "location": f"file://{path}"},
                "status": {"size": str(path.stat().st_size), "creationTime": stamps[path], "readyToUse": True},
            }
            for path in found
        ]
        print(json.dumps({"apiVersion": "k3s.cattle.io/v1", "kind": "ETCDSnapshotFileList", "items": items}))
        return
    if output:
        raise UsageError(f"invalid value {output!r} for -output: json, or none for a table")
    print("Name Location Size Created")
    for path in found:
        print(f"{path.name} file://{path} {path.stat().st_size} {stamps[path]}")


def _delete(folder: Path, names: tuple[str, ...]) -> None:
    if not names:
        raise Fatal("no snapshots given for removal")
    for name in names:
        path = folder / name
        if path.parent != folder or not path.exists():
            raise Fatal(f"snapshot {name} not found")
        path.unlink()
        log("info", f"Snapshot {name} deleted.")


def _sorted(folder: Path, prefix: str) -> list[Path]:
    """Snapshots whose names begin so, the newest first."""
    found = [path for path in folder.glob(f"{prefix}*") if path.is_file()] if folder.is_dir() else []
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
