# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a node lacks, from listings as containerd 2.2 prints them."""

from __future__ import annotations

from ansible_collections.celeryops.platform.plugins.module_utils._images.plan import (
    KEY_LABEL,
    Image,
    labels,
    make_plan,
    parse_listing,
)

LISTING = """REF                              TYPE                                                 DIGEST        SIZE      PLATFORMS   LABELS
localhost/x/redis:ca1405ad3eef   application/vnd.docker.distribution.manifest.v2+json sha256:020e   136.1 MiB linux/amd64 io.celeryops.key=ca14,io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
localhost/x/etcd:v3.6.16         application/vnd.docker.distribution.manifest.v2+json sha256:f910   26.0 MiB  linux/amd64 io.cri-containerd.image=managed
localhost/x/bare:1               application/vnd.docker.distribution.manifest.v2+json sha256:aaaa   1.0 KiB   linux/amd64 -
"""  # noqa: E501

REDIS = Image("localhost/x/redis:ca1405ad3eef", "/r.tar", "ca14")
ETCD = Image("localhost/x/etcd:v3.6.16", "/e.tar", "eba6")
APP = Image("localhost/x/app:1", "/a.tar", "d1eb")


def test_labels_by_reference() -> None:
    found = parse_listing(LISTING)
    assert found["localhost/x/redis:ca1405ad3eef"][KEY_LABEL] == "ca14"
    assert found["localhost/x/bare:1"] == {}
    assert parse_listing("REF TYPE DIGEST SIZE PLATFORMS LABELS \n") == {}


def test_what_is_missing_or_built_from_other_inputs_is_imported() -> None:
    steps = make_plan([REDIS, ETCD, APP], parse_listing(LISTING))
    assert [(s.action, s.reason) for s in steps] == [
        ("present", ""),
        ("import", "built from other inputs"),
        ("import", "not there"),
    ]


def test_without_a_key_the_reference_is_enough() -> None:
    steps = make_plan([Image(ETCD.reference, "/e.tar")], parse_listing(LISTING))
    assert steps[0].action == "present"


def test_an_image_is_pinned_and_carries_its_key() -> None:
    assert labels(REDIS) == ("io.celeryops.key=ca14", "io.cri-containerd.pinned=pinned")
    assert labels(Image("r", "/a")) == ("io.cri-containerd.pinned=pinned",)
