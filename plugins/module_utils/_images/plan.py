# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the declared images a node lacks. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["KEY_LABEL", "PINNED", "Image", "Step", "labels", "make_plan", "parse_listing"]

# The hash of an image's inputs. Two builds of one version share a reference; the label tells them apart.
KEY_LABEL = "io.celeryops.key"

# The kubelet collects no image that containerd reports as pinned: nothing could pull it again.
PINNED = ("io.cri-containerd.pinned", "pinned")


@dataclass(frozen=True)
class Image:
    """An image wanted on a node. ``key`` may be empty: then any image of that reference will do."""

    reference: str
    archive: str
    key: str = ""


@dataclass(frozen=True)
class Step:
    """What is to be done about an image: ``import``, or nothing (``present``)."""

    image: Image
    action: str
    reason: str = ""


def parse_listing(text: str) -> dict[str, dict[str, str]]:
    """Labels by reference out of ``ctr images ls``, whose last column is ``key=value,...`` or a dash."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 2:
            continue
        pairs = (pair.partition("=") for pair in words[-1].split(",") if "=" in pair)
        found[words[0]] = {name: value for name, _equals, value in pairs}
    return found


def make_plan(wanted: Iterable[Image], there: Mapping[str, Mapping[str, str]]) -> tuple[Step, ...]:
    """One step per image, in the order declared."""
    steps = []
    for image in wanted:
        if image.reference not in there:
            steps.append(Step(image, "import", "not there"))
        elif image.key and there[image.reference].get(KEY_LABEL) != image.key:
            steps.append(Step(image, "import", "built from other inputs"))
        else:
            steps.append(Step(image, "present"))
    return tuple(steps)


def labels(image: Image) -> tuple[str, ...]:
    """Labels, as ``key=value``, that an imported image gets."""
    keyed = (f"{KEY_LABEL}={image.key}",) if image.key else ()
    return (*keyed, "=".join(PINNED))
