# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a node that kubeadm has worked on before, wherever it was interrupted."""

from __future__ import annotations

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._node.membership import (
    COMPLETE,
    INIT,
    JOIN,
    NOTHING,
    RESET,
    Member,
    plan_init,
    plan_join,
)

CA = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"
OTHER = "-----BEGIN CERTIFICATE-----\nB\n-----END CERTIFICATE-----\n"
MEMBER = Member(traces=True, kubelet_conf=True, ca=CA)
HALF = Member(traces=True, kubelet_conf=True, etcd_data=True)


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        pytest.param(Member(), [INIT], id="untouched"),
        pytest.param(Member(traces=True), [RESET, INIT], id="killed among the certificates"),
        pytest.param(Member(traces=True, kubelet_conf=True), [RESET, INIT], id="killed before etcd wrote"),
        pytest.param(
            Member(traces=True, kubelet_conf=True, etcd_data=True),
            [COMPLETE],
            id="killed while the API came up",
        ),
        pytest.param(
            Member(traces=True, kubelet_conf=True, etcd_data=True, api_ready=True),
            [COMPLETE],
            id="killed before the add-ons",
        ),
        pytest.param(
            Member(traces=True, kubelet_conf=True, etcd_data=True, api_ready=True, complete=True),
            [NOTHING],
            id="killed after the last phase",
        ),
        pytest.param(
            Member(traces=True, kubelet_conf=True, etcd_data=True, api_ready=True, complete=True, finished=True),
            [NOTHING],
            id="finished",
        ),
    ],
)
def test_an_init_goes_on_from_where_it_was(found: Member, steps: list[str]) -> None:
    assert plan_init(found, reset=False) == steps


def test_a_finished_control_plane_that_does_not_answer_is_never_thrown_away_unasked() -> None:
    silent = Member(traces=True, kubelet_conf=True, etcd_data=True, finished=True)
    with pytest.raises(CeleryOpsError, match="kubeadm_reset=true"):
        plan_init(silent, reset=False)
    assert plan_init(silent, reset=True) == [RESET, INIT]


def test_etcd_data_without_its_certificates_is_nobody_s_to_go_on_with() -> None:
    with pytest.raises(CeleryOpsError, match="certificates are gone"):
        plan_init(Member(etcd_data=True), reset=False)
    assert plan_init(Member(etcd_data=True), reset=True) == [RESET, INIT]


def test_data_of_etcd_is_reset_only_when_asked() -> None:
    half = Member(traces=True, etcd_data=True)
    assert RESET not in plan_init(half, reset=False)
    assert plan_init(half, reset=True) == [RESET, INIT]


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        pytest.param(Member(), [JOIN], id="untouched"),
        pytest.param(Member(traces=True, ca=CA), [RESET, JOIN], id="killed after the CA was written"),
        pytest.param(Member(traces=True), [RESET, JOIN], id="killed before that"),
        pytest.param(Member(traces=True, ca=OTHER), [RESET, JOIN], id="killed on the way elsewhere"),
        pytest.param(Member(traces=True, kubelet_conf=True, ca=CA), [NOTHING], id="a member"),
        pytest.param(
            Member(traces=True, kubelet_conf=True, ca=CA.strip()), [NOTHING], id="a member, spelled otherwise"
        ),
    ],
)
def test_a_join_goes_on_from_where_it_was(found: Member, steps: list[str]) -> None:
    assert plan_join(found, ca=CA, reset=False) == steps


@pytest.mark.parametrize("ca", [OTHER, ""])
def test_a_member_of_another_cluster_is_left_to_it_unless_asked(ca: str) -> None:
    foreign = Member(traces=True, kubelet_conf=True, ca=ca)
    with pytest.raises(CeleryOpsError, match="member of another cluster"):
        plan_join(foreign, ca=CA, reset=False)
    assert plan_join(foreign, ca=CA, reset=True) == [RESET, JOIN]
