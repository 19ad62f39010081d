# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters of their own on the full cluster, each in a namespace that is removed afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from postgresql_place import Place

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef


@pytest.fixture(scope="module")
def make_place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Place]]:
    """Makes a namespace of a name; the role runs in it when the test says so."""
    made: list[Place] = []

    def make(**variables: object) -> Place:
        place = Place(
            cluster, f"test-pg-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("postgresql"), dict(variables)
        )
        made.append(place)
        return place

    yield make
    for place in made:
        cluster.delete(ObjectRef("v1", "Namespace", place.namespace))
