# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the get-pip.py that ansible-test fetches from a site of its own: the interpreter's own pip instead.

ansible-test runs it in each new environment and tells it what to install. It installs that, from PyPI as configured.
"""

import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

# What a tool warns of when Python first reads its own source is an error to ansible-test, once, in a new environment.
QUIET = "import warnings; warnings.filterwarnings('ignore', category=SyntaxWarning)\n"
Path(sysconfig.get_path("purelib"), "quiet.pth").write_text(QUIET, encoding="ascii")
subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
sys.argv = ["pip", "install", *(word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel"))]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
