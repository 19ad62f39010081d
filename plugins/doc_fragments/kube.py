# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module reaches the Kubernetes API."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - The kubeconfig that leads to the cluster.
      - Without it the library's own rules apply, E(KUBECONFIG) first; inside a pod its service account is used.
    type: path
  context:
    description:
      - The context of the kubeconfig; without it the current one.
    type: str
requirements:
  - python >= 3.11
  - kubernetes >= 36.0.2
notes:
  - Use C(module_defaults) with the group C(celeryops.platform.kube) to name the cluster once for a play.
"""
