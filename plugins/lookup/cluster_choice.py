# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider of the cluster, chosen from the inventory and from what this machine has."""

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_choice
short_description: The provider of the cluster, and why it is that one
version_added: 0.2.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - A provider that is named is taken when the inventory fits it. C(auto) takes the first of these - the provider whose
    group has hosts; an existing cluster, where its credentials are named by I(kubeconfig), I(context), E(KUBECONFIG) or
    the service account of the pod this runs in; k3d, where it is installed and Docker answers.
  - C(~/.kube/config) alone is no reason, because it may lead anywhere.
options:
  _terms:
    description: The wanted provider, C(auto), C(k3s), C(k3d), C(kubeadm) or C(existing).
    required: true
    type: list
    elements: str
  groups:
    description: The inventory groups of nodes by provider.
    required: true
    type: dict
  kubeconfig:
    description: Kubeconfig of a cluster that is there, empty for none.
    type: str
    default: ""
  context:
    description: Its context, empty for none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what would be chosen
  ansible.builtin.debug:
    msg: "{{ lookup('celeryops.platform.cluster_choice', 'auto', groups={'kubeadm': 'k8s_cluster'}) }}"
"""

RETURN = r"""
_raw:
  description: The provider and the reason; an empty provider and what is wrong where there is no choice.
  type: list
  elements: dict
  sample:
    - provider: kubeadm
      why: the inventory has 3 hosts in k8s_cluster
"""

import os
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.celeryops.platform.plugins.module_utils._cluster.choice import PROVIDERS, Seen, choose
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
TIMEOUT = 10


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, str]]:
        self.set_options(var_options=variables, direct=kwargs)
        inventory = (variables or {}).get("groups") or {}
        groups = {str(provider): str(group) for provider, group in self.get_option("groups").items()}
        hosts = {provider: len(inventory.get(group, [])) for provider, group in groups.items()}
        seen = Seen(groups, hosts, _credentials(self.get_option("kubeconfig"), self.get_option("context")))
        for term in terms:
            if term not in ("auto", *PROVIDERS):
                raise AnsibleError(f"cluster_provider is one of auto, {', '.join(PROVIDERS)}, and not '{term}'")
        return [_chosen(term, seen) for term in terms]


def _chosen(wanted: str, seen: Seen) -> dict[str, str]:
    try:
        return asdict(choose(wanted, seen, _hindrance))
    except CeleryOpsError as error:
        # A lookup that fails shows the expression it stands in, three times over; the role says this in one place.
        return {"provider": "", "why": str(error)}


def _credentials(kubeconfig: str, context: str) -> str:
    if kubeconfig:
        return f"platform_kubeconfig is {kubeconfig}"
    if context:
        return f"platform_context is {context}"
    for name in ("K8S_AUTH_KUBECONFIG", "KUBECONFIG"):
        if os.environ.get(name):
            return f"{name} is {os.environ[name]}"
    if "KUBERNETES_SERVICE_HOST" in os.environ and SERVICE_ACCOUNT.exists():
        return "this runs in a pod with a service account"
    return ""


def _hindrance() -> str:
    missing = [program for program in ("k3d", "docker") if shutil.which(program) is None]
    if missing:
        return f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed here"
    try:
        subprocess.run(["docker", "version"], capture_output=True, check=True, timeout=TIMEOUT)
    except subprocess.SubprocessError:
        return "Docker does not answer here"
    return ""
