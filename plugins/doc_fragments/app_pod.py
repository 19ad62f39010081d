# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module starts a short-lived pod of the application's image."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  namespace:
    description: Namespace of the application, where the pod runs.
    type: str
    required: true
  image:
    description: The application's image. It holds Django, Celery and django-celery-beat, in any version of theirs.
    type: str
    required: true
  image_pull_policy:
    description: When the image is pulled.
    type: str
    choices: [IfNotPresent, Always, Never]
    default: IfNotPresent
  app:
    description: The Celery application, as for C(celery -A).
    type: str
    required: true
  python:
    description: The Python of the image that has Django and Celery; 3.9 or newer.
    type: str
    default: python
  config_maps:
    description: ConfigMaps that become the environment.
    type: list
    elements: str
    default: []
  secrets:
    description: Secrets that become the environment.
    type: list
    elements: str
    default: []
  env:
    description: Environment variables in Kubernetes form.
    type: list
    elements: dict
    default: []
  volumes:
    description: Volumes of the pod, in Kubernetes form.
    type: list
    elements: dict
    default: []
  volume_mounts:
    description: Where the container has them, in Kubernetes form.
    type: list
    elements: dict
    default: []
  pod_security_context:
    description: Security context of the pod, in Kubernetes form.
    type: dict
    default: {runAsNonRoot: true, runAsUser: 1000}
  security_context:
    description: Security context of the container, in Kubernetes form.
    type: dict
    default: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  resources:
    description: Resources of the container, in Kubernetes form; limits within twice the requests.
    type: dict
    default:
      requests: {cpu: 250m, memory: 192Mi}
      limits: {cpu: 500m, memory: 384Mi}
  timeout:
    description: Seconds for the pod to end, its start included.
    type: float
    default: 300
  lock_timeout:
    description: Seconds to wait for another run of the same module on the same database.
    type: float
    default: 120
notes:
  - The application's own settings and the versions in its image decide, so the work is done inside that image.
  - The module first looks, read-only, from a container that is ready and has the same image and environment, a worker's
    for instance; what it looks at is always the database as it is now. Where there is no such container, where
    something is to be done, or where the look fails, the work is done by a pod that lives as long as the task. It
    reads its program from its environment and is always deleted.
  - In check mode nothing but the look takes place, in a pod of its own if need be. Where the cluster, the namespace,
    the configuration, the image or the database is not there or not complete yet, the task reports a change and warns
    that it could not look closer.
"""
