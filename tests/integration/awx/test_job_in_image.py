# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml inside the execution environment that role artifacts builds: not root, with the project read-only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import IMAGES
from helpers.modules import ROOT
from helpers.published import tracked

NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
VARIABLES = {
    "platform_name": "existing",
    "platform_namespace": NAMESPACE,
    "cluster_provider": "existing",
    "artifacts_names": [],
    "artifacts_install_packages": False,
    "redis_image": IMAGES["redis"],
    "redis_proxy_image": IMAGES["haproxy"],
    "postgresql_image": IMAGES["postgresql"],
    "postgresql_pooler_image": IMAGES["pgbouncer"],
    "celery_app_image": IMAGES["app"],
}


def load_image() -> str:
    """The newest build in the cache of artifacts, known to podman; the image's name."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "celeryops/artifacts/ee")
    built = sorted(cache.glob("*/artifact.json"), key=lambda path: path.stat().st_mtime)
    assert built, "the image ee is not built yet: the Molecule scenario default does that, or artifacts_names: [ee]"
    archive = built[-1].with_name("image.tar")
    subprocess.run(["podman", "load", "--quiet", "--input", str(archive)], check=True, capture_output=True)
    return str(json.loads(built[-1].read_text(encoding="utf-8"))["reference"])


def run_in_image(kubeconfig: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """site.yml as a job: the folders that AWX mounts, and nothing of this machine beside them."""
    project = folder / "project"
    for name in tracked():
        if name.partition("/")[0] not in ("tests", "molecule", "docs"):
            target = project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
    credential = folder / "kubeconfig"
    shutil.copyfile(kubeconfig, credential)
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
            load_image(),
            *("ansible-playbook", "-i", "localhost,", "-c", "local", "-e", json.dumps(VARIABLES)),
            *("-e", "ansible_python_interpreter={{ ansible_playbook_python }}", *options, "playbooks/site.yml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.cluster
@pytest.mark.heavy
@pytest.mark.platform
def test_a_job_in_the_image_proves_the_platform(tmp_path: Path) -> None:
    done = run_in_image(Path(os.environ["KUBECONFIG"]), tmp_path, "--tags", "verify")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{NAMESPACE}: " in done.stdout
    assert "checks passed" in done.stdout
    assert "changed=0" in done.stdout
