# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml inside the execution environment that role artifacts builds: not root, with the project read-only."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awx_jobs import checkout
from platform_place import NAMESPACE, described

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The newest build in the cache of artifacts, known to podman for as long as the test takes; its name."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "celeryops/artifacts/ee")
    built = sorted(cache.glob("*/artifact.json"), key=lambda path: path.stat().st_mtime)
    assert built, "the image ee is not built yet: the Molecule scenario default does that, or artifacts_names: [ee]"
    archive = built[-1].with_name("image.tar")
    name = str(json.loads(built[-1].read_text(encoding="utf-8"))["reference"])
    known = subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0
    subprocess.run(["podman", "load", "--quiet", "--input", str(archive)], check=True, capture_output=True)
    yield name
    if not known:
        subprocess.run(["podman", "rmi", name], check=True, capture_output=True)


def run_in_image(image: str, variables: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """site.yml as a job: the folders that AWX mounts, and nothing of this machine beside them."""
    project = checkout(folder / "project")
    credential = folder / "kubeconfig"
    shutil.copyfile(os.environ["KUBECONFIG"], credential)
    # The job's user is nobody here.
    credential.chmod(0o644)
    for path in (folder, project):
        path.chmod(0o755)
    return subprocess.run(
        [
            *("podman", "run", "--rm", "--network", "host", "--runtime", "runc"),
            # What a host without CAP_SYS_RESOURCE allows
            *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32000:32000"),
            *("--volume", f"{project}:/runner/project:ro", "--workdir", "/runner/project"),
            *("--volume", f"{credential}:/runner/kubeconfig:ro", "--env", "KUBECONFIG=/runner/kubeconfig"),
            *("--env", "NO_PROXY=*", "--env", "ANSIBLE_HOME=/tmp/ansible"),
            image,
            *("ansible-playbook", "-i", "localhost,", "-c", "local", "-e", json.dumps(variables)),
            *("-e", "ansible_python_interpreter={{ ansible_playbook_python }}", "playbooks/site.yml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_job_in_the_image_finds_the_platform_as_it_is_declared_and_proves_it(
    image: str, cluster: Api, tmp_path: Path
) -> None:
    done = run_in_image(image, described(cluster), tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(rf"^{NAMESPACE}: (\d+) of (\d+) checks passed$", done.stdout, re.MULTILINE)
    assert passed, done.stdout[-6000:]
    assert passed[1] == passed[2]
    assert re.search(r"^localhost +: .* changed=0 ", done.stdout, re.MULTILINE), done.stdout[-2000:]
