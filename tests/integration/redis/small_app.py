# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Celery application that finds its broker through the proxy or through the Sentinels."""

import os
from urllib.parse import parse_qsl, urlsplit

from celery import Celery

SOCKET = {"socket_timeout": 5, "socket_connect_timeout": 5}
URL = os.environ["SMALL_URL"]
# What a sentinel:// URL says of TLS reaches the broker's connections to the master, and nobody else.
TLS = dict(parse_qsl(urlsplit(URL.split(";")[0]).query)) if URL.startswith("sentinel:") else {}
ASKED = {"password": os.environ.get("SMALL_PASSWORD"), **SOCKET, **({"ssl": True, **TLS} if TLS else {})}
SENTINEL = {"master_name": "mymaster", "sentinel_kwargs": ASKED}
MORE = SENTINEL if URL.startswith("sentinel:") else {}

app = Celery("small", broker=URL, backend=URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={**SOCKET, **MORE},
    result_backend_transport_options=MORE,
    redis_backend_use_ssl=TLS or None,
    redis_socket_timeout=5,
    redis_socket_connect_timeout=5,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)


@app.task
def double(number):
    return 2 * number
