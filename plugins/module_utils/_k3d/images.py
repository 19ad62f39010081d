# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in the nodes of a k3d cluster: what each node has, what one of them lacks, and its import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._images.plan import (
    Image,
    labels,
    make_plan,
    parse_listing,
)
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.cli import K3d

__all__ = ["full_reference", "import_missing", "lacking"]

_CTR = ("ctr", "--namespace", "k8s.io", "images")


def full_reference(reference: str) -> str:
    """The reference as containerd keeps it: with Docker Hub's name where it was left out, and with a tag."""
    first, slash, rest = reference.partition("/")
    if not slash:
        reference = f"docker.io/library/{reference}"
    elif first != "localhost" and not any(sign in first for sign in ".:"):
        reference = f"docker.io/{first}/{rest}"
    return reference if ":" in reference.rpartition("/")[2] or "@" in reference else f"{reference}:latest"


def lacking(
    wanted: Sequence[Image], nodes: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> dict[Image, dict[str, str]]:
    """For each image the nodes that lack it, with the reason. `nodes` holds labels by reference by node."""
    plans = {node: make_plan(wanted, there) for node, there in nodes.items()}
    return {
        image: {node: plan[number].reason for node, plan in plans.items() if plan[number].action == "import"}
        for number, image in enumerate(wanted)
    }


def import_missing(k3d: K3d, cluster: str, wanted: Iterable[Image], *, check: bool, result: dict[str, Any]) -> None:
    """Imports what a node lacks, and labels it so that the next run knows it; fills `result` image by image.

    An image without an archive is taken from Docker's store and is known by its ID there.
    """
    images = [_identified(k3d, image) for image in wanted]
    found = k3d.observe(cluster)
    if found is None and not check:
        raise CeleryOpsError(
            f"There is no k3d cluster {cluster}",
            expected="a cluster to import images into",
            found="none of that name",
            remedy="bring it up first (module k3d_cluster)",
        )
    names = [node.name for role in ("server", "agent") for node in (found.of(role) if found else [])]
    there = {name: parse_listing(k3d.run("docker", "exec", name, *_CTR, "ls")) for name in names}
    missing = lacking(images, there) if found else {image: {cluster: "no such cluster yet"} for image in images}
    rows = {image: _row(image, nodes) for image, nodes in missing.items()}
    result["images"] = list(rows.values())
    for image, nodes in missing.items():
        if nodes:
            if not check:
                _import(k3d, cluster, image, names)
            rows[image]["action"] = "imported"
            result["changed"] = True
            result["diff"]["after"] += f"import {image.reference}\n"


def _identified(k3d: K3d, image: Image) -> Image:
    if image.archive:
        if not Path(image.archive).is_file():
            raise CeleryOpsError(
                f"The archive of {image.reference} is not there",
                expected=image.archive,
                found="no such file",
                remedy="make it first (make artifacts), or correct the option `archive`",
            )
        return replace(image, reference=full_reference(image.reference))
    stored = k3d.json("docker", "image", "inspect", image.reference)[0]
    return replace(image, reference=full_reference(image.reference), key=str(stored["Id"]).partition(":")[2])


def _import(k3d: K3d, cluster: str, image: Image, nodes: Iterable[str]) -> None:
    source = image.archive or image.reference
    k3d.run("k3d", "image", "import", source, "--cluster", cluster, "--mode", "auto")
    # k3d reports some imports that failed as done; the label needs the image.
    for node in nodes:
        k3d.run("docker", "exec", node, *_CTR, "label", image.reference, *labels(image))


def _row(image: Image, nodes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "reference": image.reference,
        "action": "pending" if nodes else "present",
        "reason": ", ".join(sorted(set(nodes.values()))),
        "nodes": sorted(nodes),
    }
