# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that speaks to the Kubernetes API."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig. Without it, the environment variables E(K8S_AUTH_KUBECONFIG) and E(KUBECONFIG), then
        C(~/.kube/config), and inside a cluster the pod's service account.
    type: path
  context:
    description: Context of the kubeconfig; by default its current one.
    type: str
  request_timeout:
    description: Seconds to wait for the answer to one request.
    type: float
    default: 30
  retry_timeout:
    description:
      - For how many seconds a request is repeated when the API server cannot be reached, is overloaded or
        restarts. What it may have acted upon is repeated only where twice is the same as once.
    type: float
    default: 20
requirements:
  - kubernetes >= 36.0.2
"""
