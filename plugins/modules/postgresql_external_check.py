#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_external_check
short_description: Refuse a PostgreSQL of one's own that the platform could not work with
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Looks at a PostgreSQL from a short-lived pod of the namespace, with the driver of the application's own image, so
    that name, route, TLS and password are those that workers will meet.
  - Signs in, makes, alters and fills a table in a transaction that is rolled back, counts connections, and finds out
    whether a pooler in transaction mode stands in between. Nothing stays.
  - Each finding has a name, and says what was expected, what was found and what to do. All of them are told at once
    and fail the task.
options:
  namespace:
    description: Namespace of the application, in which the pod runs and the Secret is.
    type: str
    required: true
  host:
    description: Host name or address that clients use - the server, or a pooler.
    type: str
    required: true
  port:
    description: Its port.
    type: int
    default: 5432
  database:
    description: The database.
    type: str
    required: true
  secret:
    description: Secret with the credentials. It exists already.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      username_key:
        description: Key of the user's name.
        type: str
        default: username
      password_key:
        description: Key of the password.
        type: str
        default: password
  sslmode:
    description: What libpq is told about TLS; empty for its own default.
    type: str
    choices: ["", disable, allow, prefer, require, verify-ca, verify-full]
    default: ""
  sslrootcert:
    description: Path, in the image, of the authority's certificate for C(verify-ca) and C(verify-full).
    type: str
    default: ""
  direct:
    description: The server itself, where O(host) is a pooler in transaction mode. Migrations and locks go there.
    type: dict
    suboptions:
      host:
        description: Host name or address.
        type: str
        required: true
      port:
        description: Port.
        type: int
        default: 5432
  pool_mode:
    description: What stands at O(host) - nothing but the server (empty), or a pooler in this mode.
    type: str
    choices: ["", session, transaction]
    default: ""
  clients_prepare:
    description: Whether clients prepare statements at the server, as psycopg 3 does by default.
    type: bool
    default: true
  connections:
    description: Connections that the platform may open at once. Not counted where a pooler in transaction mode is.
    type: int
    default: 0
  minimum_version:
    description: Oldest major version of PostgreSQL that will do.
    type: int
    default: 14
  image:
    description: Image with Python and psycopg or psycopg2, such as the application's own.
    type: str
    required: true
  image_pull_policy:
    description: When nodes pull the image.
    type: str
    choices: [IfNotPresent, Always, Never]
    default: IfNotPresent
  python:
    description: The Python in the image that has the driver.
    type: str
    default: python
  resources:
    description: Resources of the pod. No limit above twice the request.
    type: dict
    default: {requests: {cpu: 250m, memory: 64Mi}, limits: {cpu: 500m, memory: 128Mi}}
  pod_security_context:
    description: Security context of the pod.
    type: dict
    default: {runAsNonRoot: true, runAsUser: 1000}
  security_context:
    description: Security context of the container.
    type: dict
    default: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  timeout:
    description: Seconds for the pod to start and end.
    type: float
    default: 120
extends_documentation_fragment:
  - celeryops.platform.kube
attributes:
  check_mode:
    support: full
    description: Does the same. Where the namespace does not exist yet, nothing is checked.
  diff_mode:
    support: N/A
    description: Changes nothing.
  idempotent:
    support: full
    description: Never reports a change.
"""

EXAMPLES = r"""
- name: Refuse a database that workers could not use
  celeryops.platform.postgresql_external_check:
    namespace: jewelry-shop
    host: db.example.com
    database: jewelry_shop
    secret: {name: shop-database}
    sslmode: verify-full
    sslrootcert: /etc/ssl/certs/ca-certificates.crt
    connections: 20
    image: registry.example.com/jewelry-shop:1.4
"""

RETURN = r"""
findings:
  description: Everything that is wrong; empty where the task succeeds.
  returned: always
  type: list
  elements: dict
  sample:
    - name: migrate-rights
      endpoint: main
      expected: user shop to make, alter and fill a table in schema public
      found: permission denied for schema public
      remedy: Make it the owner of database jewelry_shop, or GRANT USAGE, CREATE ON SCHEMA to it.
facts:
  description:
    - What was seen, by endpoint (C(main), C(direct)) - the first refused C(step) with its C(error), or the facts.
  returned: always
  type: dict
  sample: {main: {version: "16.4", recovery: false, max_connections: 100, used: 12, pooled: false}}
unchecked:
  description: What could not be looked at, and why.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._beat.argspec import APP_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.visit import check

TEXT: dict[str, Any] = {"type": "str", "required": True}
PORT: dict[str, Any] = {"type": "int", "default": 5432}
TLS_MODES = ["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SMALL = {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}
SECRET: dict[str, Any] = {
    "name": TEXT,
    "username_key": {"type": "str", "default": "username", "no_log": False},
    "password_key": {"type": "str", "default": "password", "no_log": False},
}
SHARED = ("namespace", "image", "image_pull_policy", "python", "pod_security_context", "security_context")
ARGS: dict[str, Any] = {
    **{name: APP_ARGS[name] for name in SHARED},
    "host": TEXT,
    "port": PORT,
    "database": TEXT,
    "secret": {"type": "dict", "required": True, "options": SECRET, "no_log": False},
    "sslmode": {"type": "str", "choices": TLS_MODES, "default": ""},
    "sslrootcert": {"type": "str", "default": ""},
    "direct": {"type": "dict", "options": {"host": TEXT, "port": PORT}},
    "pool_mode": {"type": "str", "choices": ["", "session", "transaction"], "default": ""},
    "clients_prepare": {"type": "bool", "default": True},
    "connections": {"type": "int", "default": 0},
    "minimum_version": {"type": "int", "default": 14},
    "resources": {"type": "dict", "default": SMALL},
    "timeout": {"type": "float", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **ARGS}, supports_check_mode=True)
    run_module(
        module,
        lambda result: check(module.params, result, check_mode=module.check_mode),
        findings=[],
        facts={},
        unchecked=[],
    )


if __name__ == "__main__":
    main()
