# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets running servers accept a password besides the one they started with, until they restart."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api
from ansible_collections.celeryops.platform.plugins.module_utils._redis.cluster import AT_ONCE, Cluster, find
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import RedisError

__all__ = ["introduce", "script"]

ACCEPTED = "accepted"
ADDED = "added"
MISSING = "missing"

_SCRIPT = r"""
ask() { timeout "$seconds" redis-cli OPTIONS--no-auth-warning -p "$port" "$@" 2>&1; }
answer=$(REDISCLI_AUTH=$new ask PING </dev/null)
case $answer in
  *WRONGPASS*) ;;
  PONG | LOADING* | MASTERDOWN*) echo accepted; exit 0 ;;
  *) echo "$answer"; exit 1 ;;
esac
if [ "$add" = no ]; then echo missing; exit 0; fi
# Both answer OK. The replicas' own password is what they will show to a master that has restarted.
for command in "ACL SETUSER default >" "CONFIG SET masterauth "; do
  answer=$(printf '%s%s' "${command##* }" "$new" | ask -x ${command% *})
  if [ "$answer" != OK ]; then echo "$answer"; exit 1; fi
done
echo added
exit 0
"""


def script(password: str, *, port: int, seconds: int, add: bool, options: Sequence[str] = ()) -> str:
    """For the shell of a container whose REDISCLI_AUTH is a password that its server accepts.

    ``options`` are more of redis-cli's own. Prints C(accepted), C(added) or C(missing), or fails with what Redis
    answered.
    """
    values = {"new": password, "port": str(port), "seconds": str(seconds), "add": "yes" if add else "no"}
    lines = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return lines + _SCRIPT.replace("OPTIONS", "".join(f"{shlex.quote(option)} " for option in options))


def introduce(api: Api, params: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """The whole of module redis_password; its result without what Ansible adds. Raises CeleryOpsError."""
    cluster = find(api, params)
    pods = [] if cluster is None else _each(cluster, check_mode)
    changed = any(pod["password"] != ACCEPTED for pod in pods)
    if cluster and changed and not check_mode:
        for pod in cluster.watchers.pods:
            _tell(cluster, pod["metadata"]["name"])
    return {"changed": changed, "pods": pods, "tls": None if cluster is None else bool(cluster.ca)}


def _each(cluster: Cluster, check_mode: bool) -> list[dict[str, str]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda name: _introduce(cluster, name, check_mode), cluster.running))


def _introduce(cluster: Cluster, pod: str, check_mode: bool) -> dict[str, str]:
    seconds, options = cluster.timeout, _options(cluster)
    text = script(cluster.password, port=cluster.port, seconds=seconds, add=not check_mode, options=options)
    done = cluster.shell(pod, text, timeout=5.0 * cluster.timeout)
    if done.rc != 0:
        raise RedisError(
            f"{pod} does not take the password of the Secret besides its own",
            expected="a server that accepts the password it started with",
            found=done.stdout.strip() or done.stderr.strip(),
            remedy=f"delete pod {pod}: it starts with the password of the Secret",
        )
    return {"name": pod, "password": done.stdout.strip()}


def _options(cluster: Cluster) -> tuple[str, ...]:
    """Each pod asks its own server, which is to hear of a password whether its certificate still holds or not."""
    return ("--tls", "--insecure") if cluster.ca else ()


def _tell(cluster: Cluster, pod: str) -> None:
    """A Sentinel signs in with the new password, which all servers accept now, those that restart too."""
    port, master = cluster.sentinel["port"], shlex.quote(cluster.sentinel["master_name"])
    options = " ".join(("redis-cli", *_options(cluster)))
    words = f"{options} --no-auth-warning -p {port} -x SENTINEL SET {master} auth-pass"
    text = f"printf %s {shlex.quote(cluster.password)} | timeout {cluster.timeout} {words}; exit 0\n"
    said = cluster.shell(pod, text, timeout=5.0 * cluster.timeout, container="").stdout.strip()
    if said != "OK":
        raise RedisError(
            f"{pod} does not take the password of the Secret",
            expected="a Sentinel that watches over the master",
            found=said or "no answer",
            remedy=f"delete pod {pod}: it starts with the password of the Secret",
        )
