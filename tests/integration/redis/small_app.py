# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Celery application that finds its broker through the proxy or through the Sentinels."""

import os

from celery import Celery

SOCKET = {"socket_timeout": 5, "socket_connect_timeout": 5}
SENTINEL = {"master_name": "mymaster", "sentinel_kwargs": {"password": os.environ.get("SMALL_PASSWORD"), **SOCKET}}
URL = os.environ["SMALL_URL"]
MORE = SENTINEL if URL.startswith("sentinel:") else {}

app = Celery("small", broker=URL, backend=URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={**SOCKET, **MORE},
    result_backend_transport_options=MORE,
    redis_socket_timeout=5,
    redis_socket_connect_timeout=5,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)


@app.task
def double(number):
    return 2 * number
