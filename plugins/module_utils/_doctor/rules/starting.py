# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that cannot be started: images, configuration, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import explained, names, quotes, trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Container, Pod

__all__ = ["RULES"]

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError")
_CONFIG = ("CreateContainerConfigError",)
_MOUNT = r"(configmap|secret) \"[^\"]+\" not found|references non-existent (config|secret) key"
_USAGE = r"^(Usage: celery|Error: (Invalid value|No such (option|command)|Missing)|Unable to load celery application)"


def _waiting(seen: Snapshot, reasons: tuple[str, ...]) -> list[tuple[Pod, Container]]:
    return [
        (pod, one) for pod in seen.pods() for one in pod.containers if one.state == "waiting" and one.reason in reasons
    ]


def image(seen: Snapshot) -> Iterator[Verdict]:
    cause = "image-missing"
    found = _waiting(seen, _IMAGE)
    if not found:
        yield RuledOut(cause, "no container waits for its image")
        return
    pod, container = found[0]
    name = container.spec.get("image", "")
    pods = list({pod.name: pod for pod, _container in found}.values())
    yield Finding(
        cause,
        f"The image {name} of {names(pods)} is not there",
        Stage.START,
        Confidence.CERTAIN,
        tuple(
            Evidence(f"container {one.name} of {pod.subject}", trimmed(f"{one.reason}: {one.message}"))
            for pod, one in found[:3]
        ),
        f"import it on node {pod.node or 'NODE'} (role images; ctr -n k8s.io images ls | grep IMAGE shows what is "
        f"there), "
        "correct celery_app_image, or give the pod a pull secret where the registry refuses",
        explained(pods),
    )


def config(seen: Snapshot) -> Iterator[Verdict]:
    """A ConfigMap, a Secret or a key of one that a container needs and that is not there."""
    cause = "config-missing"
    found = [
        (pod, Evidence(f"container {one.name} of {pod.subject}", trimmed(f"{one.reason}: {one.message}")))
        for pod, one in _waiting(seen, _CONFIG)
    ]
    found += [
        (pod, Evidence(event.source, trimmed(event.message)))
        for pod in seen.pods()
        if not pod.ready and not pod.ran
        for event in seen.events_of("Pod", pod.name, "FailedMount")[:1]
        if re.search(_MOUNT, event.message)
    ]
    if not found:
        yield RuledOut(cause, "no container waits for a ConfigMap, a Secret or a key")
        return
    pods = list({pod.name: pod for pod, _line in found}.values())
    yield Finding(
        cause,
        f"{_missing(found[0][1].text)}, which {names(pods)} needs",
        Stage.START,
        Confidence.CERTAIN,
        tuple(line for _pod, line in found[:3]),
        "run site.yml with --tags namespace,redis,postgresql: the roles make app-config, app-secrets and the "
        "credentials anew. For an object of your own create it, or correct celery_app_config_maps, celery_app_secrets, "
        "celery_app_env",
        explained(pods),
    )


def _missing(said: str) -> str:
    key = re.search(r"couldn't find key (\S+) in (ConfigMap|Secret) (\S+)", said)
    if key:
        return f"There is no key {key[1]} in {key[2]} {key[3]}"
    whole = re.search(r"(configmap|secret) \"([^\"]+)\" not found", said)
    if whole:
        return f"There is no {'ConfigMap' if whole[1] == 'configmap' else 'Secret'} {whole[2]}"
    return "A part of the configuration is missing"


def command_line(seen: Snapshot) -> Iterator[Verdict]:
    """Celery's own exit status for words that it does not understand is 2; a program that is not there fails before."""
    cause = "command-line"
    pods, evidence = quotes((pod for pod in seen.started("worker", "beat") if _exit_of(pod) == 2), _USAGE)
    broken = list(_waiting(seen, ("RunContainerError", "CreateContainerError", "CrashLoopBackOff")))
    unfound = [
        (pod, Evidence(f"container {one.name} of {pod.subject}", trimmed(said)))
        for pod, one in broken
        for said in (f"{one.reason}: {one.message}", f"{one.exit_reason}: {one.exit_message}")
        if re.search(r"executable file not found|no such file or directory: unknown|exec format error", said)
    ]
    pods = (*pods, *(pod for pod, _line in unfound if pod not in pods))
    evidence = (*evidence, *(line for _pod, line in unfound))
    if not pods:
        yield RuledOut(cause, "no container ended with Celery's exit status 2, and every command was found")
        return
    yield Finding(
        cause,
        f"The command of {names(pods)} cannot be carried out",
        Stage.START,
        Confidence.LIKELY,
        evidence[:3],
        "correct celery_app_name (celery -A), celery_worker_executable, celery_worker_flags and celery_worker_pool, "
        "or the image",
        explained(pods),
    )


def _exit_of(pod: Pod) -> int | None:
    return pod.main.exit_code


RULES: tuple[Rule, ...] = (image, config, command_line)
