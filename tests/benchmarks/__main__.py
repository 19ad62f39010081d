# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m benchmarks`, from the folder tests: all contenders in turn, against one API server and etcd of its own.

With `--probes` it is what a probe of a worker costs instead, with `--waking` how soon an idle worker has its task.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from helpers.apiserver import ApiServer, running_api_server

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef, connect

from . import probes, waking
from .contenders import CONTENDERS, Contender, Place, environment, kubernetes_core
from .measure import AuditLog, run
from .objects import KINDS, REVISION, application_set, with_revision
from .report import Results, Target

Json = dict[str, Any]


class Benchmark:
    """One run of everything on one server. What each command did is checked, not believed."""

    def __init__(self, server: ApiServer, folder: Path, collections: Path) -> None:
        self._server = server
        self._api: Api = connect({"kubeconfig": str(server.kubeconfig), "retry_timeout": 10})
        # The audit log tells this program's own requests from those of a command by their time only.
        self._audit = AuditLog(server.folder / "audit.log", "admin")
        self._environment = environment(folder, collections)
        self._folder = folder
        self.results = Results()

    def place(self, number: int) -> Place:
        folder = self._folder / f"contender-{number}"
        folder.mkdir()
        place = Place(folder, folder.name, self._server)
        self._api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}})
        return place

    def warm_up(self, places: Sequence[tuple[Contender, Place]]) -> None:
        """One run each that does not count: after it the caches of bytecode and of discovery are warm for all."""
        for contender, place in places:
            self._one(contender, place, "new", application_set(place.namespace, 10), 10, count=False)

    def round(self, places: Sequence[tuple[Contender, Place]], size: int, number: int) -> None:
        """New, unchanged, 10 % changed: each starts from what the one before left. Contenders follow each other."""
        for _contender, place in places:
            self._empty(place)
        for scenario, revision, written in (
            ("new", "0", size),
            ("unchanged", "0", 0),
            ("10 % changed", str(number), size // 10),
        ):
            # Who was first is last the next time.
            for contender, place in places if number % 2 else reversed(places):
                if not contender.applies and scenario != "unchanged":
                    continue
                objects = with_revision(application_set(place.namespace, size), revision)
                self._one(contender, place, scenario, objects, written, count=True)

    def _one(
        self,
        contender: Contender,
        place: Place,
        scenario: str,
        objects: list[Json],
        written: int,
        *,
        count: bool,
    ) -> None:
        contender.write(place, objects)
        before = self._versions(place)
        taken = run(contender.command(place), self._environment, place.folder, self._audit)
        after = self._versions(place)
        found = (len(after), len(after.items() - before.items()))
        if contender.applies and found != (len(objects), written):
            raise RuntimeError(f"{contender.name}, {scenario}: of {len(objects)} {found} instead of {written} written")
        if count:
            self.results.add(contender.name, scenario, len(objects), taken)
            print(
                f"{len(objects):4} {scenario:14} {contender.name:30} {taken.wall:7.2f} s {dict(taken.agents)}",
                flush=True,
            )

    def _versions(self, place: Place) -> dict[tuple[str, str], str]:
        """What stands in the namespace: kind and name to resourceVersion; only what the set put there."""
        return {
            (kind, one["metadata"]["name"]): one["metadata"]["resourceVersion"]
            for kind, api_version in KINDS.items()
            for one in self._api.list(api_version, kind, place.namespace)
            if REVISION in (one["metadata"].get("annotations") or {})
        }

    def _empty(self, place: Place) -> None:
        for kind, api_version in KINDS.items():
            path = self._api.path(ObjectRef(api_version, kind, "x", place.namespace)).rpartition("/")[0]
            self._api.request("DELETE", path)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 100, 500], help="multiples of ten")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CONTENDERS], help="some of the contenders")
    parser.add_argument("--probes", action="store_true", help="what a probe of a worker costs, instead of manifests")
    parser.add_argument("--waking", action="store_true", help="how soon an idle worker has its task, instead")
    parser.add_argument("--output", type=Path, help="folder for benchmarks.json and benchmarks.rst")
    arguments = parser.parse_args(argv)
    if arguments.probes:
        where, found = probes.measure(arguments.repetitions)
        print(f"{where}, {arguments.repetitions} times each")
        content = probes.content(where, found)
        return _report("probes", probes.table(found), probes.targets(found), content, arguments.output)
    if arguments.waking:
        rows = waking.measure(arguments.repetitions)
        return _report("waking", waking.table(rows), waking.targets(rows), waking.content(rows), arguments.output)
    chosen = [one for one in CONTENDERS if not arguments.only or one.name in arguments.only]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "celeryops/benchmarks")
    needed = any(one.name.startswith("kubernetes.core") for one in chosen)
    collections = kubernetes_core(cache) if needed else cache
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "server").mkdir()
        with running_api_server(folder / "server", audit=True) as server:
            benchmark = Benchmark(server, folder, collections)
            places = [(one, benchmark.place(number)) for number, one in enumerate(chosen)]
            benchmark.warm_up(places)
            for size in arguments.sizes:
                for number in range(1, arguments.repetitions + 1):
                    benchmark.round([pair for pair in places if pair[0].takes_part(size, number)], size, number)
    results = benchmark.results
    content = {"rows": [asdict(row) for row in results.rows()]}
    return _report("benchmarks", results.table(), results.targets(), content, arguments.output)


def _report(name: str, table: str, targets: Sequence[Target], content: Json, output: Path | None) -> int:
    print(f"\n{table}")
    for target in targets:
        print(
            f"{'reached' if target.reached else 'MISSED '} {target.what}: {target.value:.4g}, at most {target.limit:g}"
        )
    if output:
        machine = {
            "cpus": os.cpu_count(),
            "load": os.getloadavg(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("ansible-core", "celery", "kubernetes", "urllib3", "PyYAML")},
        }
        judged = [{**asdict(target), "reached": target.reached} for target in targets]
        whole = {"machine": machine, **content, "targets": judged}
        output.mkdir(parents=True, exist_ok=True)
        (output / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        (output / f"{name}.rst").write_text(table, encoding="utf-8")
    return 0 if all(target.reached for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
