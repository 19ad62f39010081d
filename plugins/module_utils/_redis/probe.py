# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client inside the cluster gets: a shell script to run there, and the reading of what it prints.

A port-forward to a Service reaches one pod and bypasses kube-proxy, so the connections are made by redis-cli in a
pod. Each attempt is one new connection that asks ROLE and then proves whether it may write:

* a look deletes a random absent key: a replica refuses with READONLY, a master changes nothing;
* a write sets a key that expires by itself, reads it back and deletes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.celeryops.platform.plugins.module_utils._redis.replication import MASTER, parse_info, role_name

__all__ = ["Answer", "Target", "parse", "script", "shares", "total_timeout"]

# A target that does not answer is not asked for ever: so many timeouts in a row say enough.
_TIMEOUTS_ENOUGH = 2
_KEY_SECONDS = 30

_CLIENT = """client() { timeout "$seconds" redis-cli OPTIONS--no-auth-warning "$@" 2>&1; }"""
_FUNCTIONS = r"""
for tool in timeout getent sed redis-cli; do
  command -v "$tool" >/dev/null || { echo "$tool is not in this image" >&2; exit 3; }
done
ask() {
  index=$1 port=$3 database=$4 connections=$5 silent=0 n=0
  # Of a name with several addresses libc would prefer the nearest one for ever: each is asked in turn.
  set -- $(timeout "$seconds" getent ahosts "$2" </dev/null | sed -n 's/[[:space:]]*STREAM.*//p')
  if [ $# -eq 0 ]; then
    printf '\n%s attempt %s -\nthe name does not resolve\n%s status 1\n' "$mark" "$index" "$mark"
    return
  fi
  while [ "$n" -lt "$connections" ] || [ "$n" -lt $# ]; do
    n=$((n + 1)) address=$1
    shift
    set -- "$@" "$address"
    printf '\n%s attempt %s %s\n' "$mark" "$index" "$address"
    commands "$key:$index:$n" | client -h "$address" -p "$port" -n "$database"
    status=$?
    printf '\n%s status %s\n' "$mark" "$status"
    if [ "$status" -eq 124 ]; then silent=$((silent + 1)); else silent=0; fi
    if [ "$silent" -ge "$enough" ]; then return; fi
  done
}
"""
_COMMANDS = r"""
commands() {
  printf 'ROLE\nECHO "%s part"\n' "$mark"
  PROOF
  printf 'ECHO "%s part"\nINFO server\n' "$mark"
}
"""
_LOOK = r"""printf 'DEL "%s"\n' "$1" """
_WRITE = r"""printf 'SET "%s" "%s" EX %s\nGET "%s"\nDEL "%s"\n' "$1" "$1" "$ttl" "$1" "$1" """


@dataclass(frozen=True)
class Target:
    """A host and port as a client would name them, the database it would select, and how many connections to make.

    A name with more addresses than that is asked once at each. ``options`` are more of redis-cli's own.
    """

    host: str
    port: int
    database: int = 0
    connections: int = 1
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What one new connection got. An empty role means no answer; ``error`` says why, or why a write was refused."""

    address: str
    role: str = ""
    run_id: str = ""
    writable: bool = False
    error: str = ""


def total_timeout(targets: Sequence[Target], seconds: int) -> float:
    """An upper bound in seconds for the whole script: silent targets are given up early, answering ones take little."""
    return sum(seconds * (_TIMEOUTS_ENOUGH + 1) + target.connections for target in targets) + 10.0


def shares(targets: Sequence[Target], clients: int) -> list[dict[int, Target]]:
    """Each client's part of the connections, by the target's number: so each node's own rules are used, and a client's
    CPU limit holds up its own part only. Targets of few connections begin with another client each."""
    parts: list[dict[int, Target]] = [{} for _client in range(clients)]
    for number, target in enumerate(targets):
        each, left = divmod(target.connections, clients)
        for turn in range(clients):
            if count := each + (turn < left):
                parts[(number + turn) % clients][number] = replace(target, connections=count)
    return parts


def script(
    targets: Sequence[Target],
    password: str,
    *,
    mark: str,
    seconds: int,
    write: bool = False,
) -> str:
    """A POSIX shell script that asks every target over new connections, one after the other.

    ``mark`` is a random word that frames the output and names the keys. Where the password stands in the script, the
    script goes through standard input, never through arguments; without one, REDISCLI_AUTH of its environment holds.
    It ends by itself, without waiting for an end of file.
    """
    assignments = {
        "mark": mark,
        "key": f"celeryops:probe:{mark}",
        "seconds": str(seconds),
        "enough": str(_TIMEOUTS_ENOUGH),
        "ttl": str(_KEY_SECONDS),
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in assignments.items()]
    if password:
        lines.append(f"export REDISCLI_AUTH={shlex.quote(password)}")
    lines += [_COMMANDS.replace("PROOF", _WRITE if write else _LOOK), _FUNCTIONS]
    for index, target in enumerate(targets):
        lines.append(_CLIENT.replace("OPTIONS", "".join(f"{shlex.quote(option)} " for option in target.options)))
        lines.append(f"ask {index} {shlex.quote(target.host)} {target.port} {target.database} {target.connections}")
    return "\n".join([*lines, "exit 0", ""])


def _sections(lines: Iterable[str], mark: str) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for line in lines:
        if line == f"{mark} part":
            sections.append([])
        elif line.strip():
            sections[-1].append(line.strip())
    return sections


def _answer(address: str, body: list[str], status: str, mark: str) -> Answer:
    if status == "124":
        return Answer(address, error="no answer within the time limit")
    sections = _sections(body, mark)
    said = sections[0]
    if not said or said[0] not in ("master", "slave", "sentinel") or len(sections) < 3:
        # A refused connection or password is said once per command: once is enough.
        return Answer(address, error=said[0] if said else f"redis-cli ended with status {status} and said nothing")
    role, written = role_name(said[0]), sections[1]
    run_id = parse_info("\n".join(sections[2])).get("run_id", "")
    proved = written == ["0"] or (len(written) == 3 and written[0] == "OK" and written[2] == "1")
    if proved and len(written) == 3:
        proved = written[1].startswith(f"celeryops:probe:{mark}:")
    error = "" if proved else (written[0] if written else "the write was not answered")
    return Answer(address, role, run_id, writable=proved and role == MASTER, error=error)


def parse(output: str, count: int, mark: str) -> tuple[tuple[Answer, ...], ...]:
    """The answers of each of ``count`` targets, in the order in which the script asked."""
    answers: list[list[Answer]] = [[] for _number in range(count)]
    index, address, body = -1, "", list[str]()
    for line in output.replace("\r", "").split("\n"):
        words = line.split(" ")
        if words[0] == mark and words[1] == "attempt":
            index, address, body = int(words[2]), words[3], []
        elif words[0] == mark and words[1] == "status" and index >= 0:
            answers[index].append(_answer(address, body, words[2], mark))
            index = -1
        else:
            body.append(line)
    return tuple(tuple(of_target) for of_target in answers)
