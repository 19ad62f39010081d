#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_release
short_description: A file of a k3s release, verified
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Downloads the program, or the archive of its images, from a release site and puts it in its place when its
    SHA-256 is right. What is there and right already is not fetched again.
  - A transfer that breaks off is taken up where it stopped, within a run and by the next one.
options:
  version:
    description: The release, such as C(v1.33.4+k3s1).
    type: str
    required: true
  kind:
    description: The program, or the archive of images for hosts without a registry.
    type: str
    choices: [binary, images]
    default: binary
  architecture:
    description: Processor of the host that is to run it.
    type: str
    choices: [amd64, arm64]
    required: true
  dest:
    description: Where the file has to be.
    type: path
    required: true
  mode:
    description: Permissions in octal.
    type: str
    default: "0755"
  sha256:
    description: What the file has to hash to. Without it the release's own C(sha256sum-ARCHITECTURE.txt) is asked,
      which is as trustworthy as the site.
    type: str
    default: ""
  bundle:
    description: A folder that holds the files of the release. The file is verified there and nothing is downloaded or
      copied; the returned I(dest) is the file in the bundle.
    type: path
    default: ""
  url:
    description: What precedes the version in the address of a file.
    type: str
    default: https://github.com/k3s-io/k3s/releases/download
  username:
    description: User for that site.
    type: str
    default: ""
  password:
    description: Password for that site.
    type: str
    default: ""
  proxy:
    description: URL of a proxy. By default the environment's C(http_proxy), C(https_proxy) and C(no_proxy) count.
    type: str
    default: ""
  timeout:
    description: Seconds without a byte after which an attempt is given up.
    type: int
    default: 30
  attempts:
    description: How often a transfer is begun or taken up again.
    type: int
    default: 3
attributes:
  check_mode:
    description: Downloads nothing but, without a pin, the release's list of checksums.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  idempotent:
    description: A second run finds the file.
    support: full
"""

EXAMPLES = r"""
- name: The program on a host
  celeryops.platform.k3s_release:
    version: v1.33.4+k3s1
    architecture: amd64
    sha256: 6b1d9f9f2e7b9f5a0f9a0c2cf6d4f4d4b2c9a5f1d8e7c6b5a4938271605f4e3d
    dest: /usr/local/bin/k3s
"""

RETURN = r"""
dest:
  description: Where the file is.
  returned: always
  type: str
  sample: /usr/local/bin/k3s
url:
  description: Where it comes from, without credentials. Empty when a failure came before that was known.
  returned: always
  type: str
  sample: https://github.com/k3s-io/k3s/releases/download/v1.33.4%2Bk3s1/k3s
sha256:
  description: What it hashes to.
  returned: always
  type: str
  sample: 6b1d9f9f2e7b9f5a0f9a0c2cf6d4f4d4b2c9a5f1d8e7c6b5a4938271605f4e3d
pinned:
  description: Whether that was given, and not read from the release site.
  returned: always
  type: bool
  sample: true
received:
  description: Bytes of the file that came over the network in this run.
  returned: always
  type: int
  sample: 70254592
resumed_at:
  description: Bytes that an earlier run had left and this one kept.
  returned: always
  type: int
  sample: 0
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.download import Client
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.release import (
    ARCHITECTURES,
    Asset,
    bundled,
    ensure,
)
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

SPEC = {
    "version": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["binary", "images"], "default": "binary"},
    "architecture": {"type": "str", "choices": list(ARCHITECTURES), "required": True},
    "dest": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "sha256": {"type": "str", "default": ""},
    "bundle": {"type": "path", "default": ""},
    "url": {"type": "str", "default": "https://github.com/k3s-io/k3s/releases/download"},
    "username": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    # It may hold a password.
    "proxy": {"type": "str", "default": "", "no_log": True},
    "timeout": {"type": "int", "default": 30},
    "attempts": {"type": "int", "default": 3},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params

    client = Client(
        proxy=params["proxy"],
        login=(params["username"], params["password"]) if params["username"] else None,
        timeout=params["timeout"],
        attempts=params["attempts"],
    )

    def release(result: dict) -> None:
        asset = Asset(params["version"], params["kind"], params["architecture"], params["url"])
        if params["bundle"]:
            path = bundled(asset, Path(params["bundle"]), sha256=params["sha256"], result=result)
            result["dest"] = str(path)
            return
        ensure(
            asset,
            Path(params["dest"]),
            sha256=params["sha256"],
            mode=int(params["mode"], 8),
            client=client,
            check=module.check_mode,
            result=result,
        )

    initial = {"url": "", "sha256": "", "pinned": False, "received": 0, "resumed_at": 0}
    run_module(module, release, dest=params["dest"], **initial)


if __name__ == "__main__":
    main()
