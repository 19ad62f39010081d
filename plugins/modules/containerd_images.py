#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: containerd_images
short_description: Images in a node's containerd, imported from archives
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Imports the archives of those images that containerd does not have, and marks them as pinned, so that the
    kubelet never collects what nothing could pull again.
  - With a key, an image of the same reference that was built from other inputs is replaced.
options:
  images:
    description: Images wanted on the node.
    type: list
    elements: dict
    required: true
    suboptions:
      reference:
        description: Full reference, which the archive holds too.
        type: str
        required: true
      archive:
        description: Path of the archive (docker-archive or OCI) as the node sees it.
        type: path
        required: true
      key:
        description: Hash of the image's inputs, compared with a label of the image on the node.
        type: str
        default: ""
  ctr:
    description: containerd's client.
    type: path
    default: ctr
  containerd_namespace:
    description: Namespace in containerd; the kubelet's by default.
    type: str
    default: k8s.io
  address:
    description: Socket of containerd.
    type: path
    default: /run/containerd/containerd.sock
attributes:
  check_mode:
    support: full
    description: Lists what would be imported. Where containerd does not run yet, that is everything.
  diff_mode:
    support: none
    description: An image is there or not.
  idempotent:
    support: full
    description: One listing shows that nothing is missing.
"""

EXAMPLES = r"""
- name: The image that every pod's sandbox runs
  celeryops.platform.containerd_images:
    images:
      - reference: localhost/celeryops/pause:0.1.7
        archive: /var/cache/celeryops/artifacts/pause/549e60a0/image.tar
"""

RETURN = r"""
images:
  description: The images in the order given. Also there on failure.
  returned: always
  type: list
  elements: dict
  contains:
    reference:
      description: Full reference.
      type: str
      sample: localhost/celeryops/pause:0.1.7
    archive:
      description: Path of the archive.
      type: str
      sample: /var/cache/celeryops/artifacts/pause/549e60a0/image.tar
    action:
      description: V(present), V(imported), or V(pending) for what a failure left undone.
      type: str
      sample: present
    reason:
      description: Why an import is needed.
      type: str
      sample: not there
    visible:
      description: Whether the node sees the archive.
      type: bool
      sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._images.containerd import Containerd, rows
from ansible_collections.celeryops.platform.plugins.module_utils._images.plan import Image

SPEC = {
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "reference": {"type": "str", "required": True},
            "archive": {"type": "path", "required": True},
            "key": {"type": "str", "default": "", "no_log": False},
        },
    },
    "ctr": {"type": "path", "default": "ctr"},
    "containerd_namespace": {"type": "str", "default": "k8s.io"},
    "address": {"type": "path", "default": "/run/containerd/containerd.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    wanted = [Image(i["reference"], i["archive"], i["key"]) for i in module.params["images"]]
    params = module.params
    containerd = Containerd(params["ctr"], params["containerd_namespace"], params["address"])
    steps, done = (), []
    try:
        steps = containerd.plan(wanted, check_mode=module.check_mode)
        for step in steps:
            if step.action == "import":
                if not module.check_mode:
                    containerd.load(step.image)
                done.append(step)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), changed=bool(done), images=rows(steps, done), **error.details)
    module.exit_json(changed=bool(done), images=rows(steps, done))


if __name__ == "__main__":
    main()
