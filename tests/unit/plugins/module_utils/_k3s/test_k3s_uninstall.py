# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What k3s leaves on a host, told from what others have there."""

from __future__ import annotations

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.uninstall import (
    bound_to_themselves,
    descendants,
    foreign_rules,
    mounts_below,
)

MOUNTS = """\
overlay / overlay rw 0 0
tmpfs /run tmpfs rw 0 0
overlay /run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/abc/rootfs overlay rw 0 0
tmpfs /var/lib/kubelet/pods/1/volumes/kubernetes.io~projected/token tmpfs rw 0 0
/dev/sdb /var/lib/kubelet/pods/1 ext4 rw 0 0
tmpfs /var/lib/kubelet/pods/a\\040b tmpfs rw 0 0
nsfs /run/netns/cni-1234 nsfs rw 0 0
nsfs /run/netns/mine nsfs rw 0 0
"""
RULES = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:CNI-abc - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -s 10.42.0.0/16 -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
"""


def test_mounts_are_undone_from_the_inside() -> None:
    assert mounts_below(MOUNTS, ["/run/k3s", "/var/lib/kubelet", "/run/netns/cni-"]) == [
        "/var/lib/kubelet/pods/a b",
        "/var/lib/kubelet/pods/1/volumes/kubernetes.io~projected/token",
        "/var/lib/kubelet/pods/1",
        "/run/netns/cni-1234",
        "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/abc/rootfs",
    ]


def test_rules_of_others_stay() -> None:
    assert foreign_rules(RULES) == ("*nat\n:PREROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n")
    assert foreign_rules(foreign_rules(RULES)) == foreign_rules(RULES)


def test_children_end_before_their_parents() -> None:
    parents = {2: 1, 3: 2, 4: 2, 5: 4, 9: 1}
    assert descendants(parents, [2]) == [5, 4, 3, 2]
    assert descendants(parents, []) == []


def test_a_folder_that_was_mounted_over_itself_holds_nothing_of_its_own() -> None:
    mountinfo = """\
22 1 0:21 / / rw - overlay overlay rw
30 22 0:21 /var/lib/kubelet /var/lib/kubelet rw shared:5 - overlay overlay rw
31 22 8:16 / /var/lib/rancher/k3s rw - ext4 /dev/sdb rw
32 22 8:32 /volumes/1 /var/lib/rancher/k3s/storage rw - ext4 /dev/sdc rw
"""
    assert bound_to_themselves(mountinfo) == {"/var/lib/kubelet"}
