# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lower bound: one server-side apply PATCH per object over one connection, prepared beforehand.

Run as a program of its own: `bare.py KUBECONFIG REQUESTS`, where each line of REQUESTS is `[path, object]` in JSON.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit


def main(kubeconfig: str, requests: str) -> None:
    config = json.loads(Path(kubeconfig).read_text(encoding="ascii"))
    cluster = config["clusters"][0]["cluster"]
    url = urlsplit(cluster["server"])
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    connection = http.client.HTTPSConnection(str(url.hostname), url.port, context=context)
    headers = {
        "Authorization": f"Bearer {config['users'][0]['user']['token']}",
        "Content-Type": "application/apply-patch+yaml",
        "Accept": "application/json",
        "User-Agent": "bare",
    }
    for line in Path(requests).read_text(encoding="utf-8").splitlines():
        path, body = json.loads(line)
        connection.request("PATCH", f"{path}?fieldManager=bare&force=true", json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{path}: {text.decode()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
