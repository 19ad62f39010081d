#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3d_images
short_description: Images in the nodes of a k3d cluster
version_added: 0.2.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Imports those images that a node of the cluster lacks or has in another build, and marks them as pinned, so that the
    kubelet never collects what nothing could pull again.
  - One listing per node shows what is there. An image is known by a label on it that holds its key.
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  images:
    description: Images that the cluster needs.
    type: list
    elements: dict
    required: true
    suboptions:
      reference:
        description: Reference of the image.
        type: str
        required: true
      archive:
        description: Archive that holds it. Without one it is taken from Docker's store, and its ID there is the key.
        type: path
        default: ""
      key:
        description: Hash of the archive's inputs. Without one any image of this reference will do.
        type: str
        default: ""
  timeout:
    description: Seconds that one import may take.
    type: int
    default: 300
  k3d:
    description: The program k3d, version 5.
    type: path
    default: k3d
  docker:
    description: Docker's client.
    type: path
    default: docker
attributes:
  check_mode:
    support: full
    description: Lists what would be imported. Where there is no cluster yet, that is everything.
  diff_mode:
    support: full
    description: What is imported.
  idempotent:
    support: full
    description: A listing shows that nothing is missing.
"""

EXAMPLES = r"""
- name: An image that was built with Docker, and one from an archive
  celeryops.platform.k3d_images:
    cluster: dev
    images:
      - reference: shop:dev
      - reference: localhost/celeryops/redis:7
        archive: /var/cache/images/redis.tar
"""

RETURN = r"""
images:
  description: The images with their full references, what was done about each (C(present), C(imported), or C(pending)
    after a failure), why, and which nodes lacked it.
  returned: always
  type: list
  elements: dict
  sample:
    - reference: docker.io/library/shop:dev
      action: imported
      reason: built from other inputs
      nodes: [k3d-dev-agent-0]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._images.plan import Image
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.argspec import K3D_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.cli import K3d
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.images import import_missing
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

SPEC = {
    **K3D_ARGS,
    "cluster": {"type": "str", "required": True},
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "reference": {"type": "str", "required": True},
            "archive": {"type": "path", "default": ""},
            "key": {"type": "str", "default": "", "no_log": False},
        },
    },
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    k3d = K3d(params["k3d"], params["docker"], params["timeout"])
    images = [Image(one["reference"], one["archive"], one["key"]) for one in params["images"]]
    run_module(
        module,
        lambda result: import_missing(k3d, params["cluster"], images, check=module.check_mode, result=result),
        images=[],
        diff={"before": "", "after": ""},
    )


if __name__ == "__main__":
    main()
