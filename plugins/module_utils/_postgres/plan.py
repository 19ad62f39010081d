# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PostgreSQL cluster holds against what it should hold: roles, databases and the pooler's lookup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import scram

__all__ = [
    "OBSERVE",
    "SETTINGS",
    "Change",
    "Database",
    "Role",
    "State",
    "observed",
    "plan",
    "script",
]

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

# Roles that may not be looked up through the pooler: who holds these rights connects directly.
_LOOKUP_BODY = """
  SELECT r.rolname::text, r.rolpassword FROM pg_catalog.pg_authid r
  WHERE r.rolname = wanted AND r.rolcanlogin AND NOT r.rolsuper AND NOT r.rolreplication
    AND (r.rolvaliduntil IS NULL OR r.rolvaliduntil > pg_catalog.now())
"""

# One JSON value: what Patroni keeps equal on all members, and what takes a restart.
SETTINGS = """
SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN ('max_connections',
  'max_locks_per_transaction', 'max_prepared_transactions', 'max_replication_slots', 'max_wal_senders',
  'max_worker_processes', 'track_commit_timestamp', 'wal_level', 'wal_log_hints');
"""

# One row, one JSON value. Runs in the database postgres as a superuser.
OBSERVE = """
SELECT json_build_object(
  'roles', (SELECT json_agg(json_build_object('name', rolname, 'login', rolcanlogin, 'superuser', rolsuper,
      'replication', rolreplication, 'createrole', rolcreaterole, 'createdb', rolcreatedb,
      'bypassrls', rolbypassrls, 'secret', rolpassword)) FROM pg_authid WHERE rolname !~ '^pg_'),
  'databases', (SELECT json_agg(json_build_object('name', datname, 'owner', pg_get_userbyid(datdba),
      'public', has_database_privilege('public', oid, 'CONNECT')))
      FROM pg_database WHERE NOT datistemplate),
  'lookup', (SELECT json_build_object('body', p.prosrc, 'definer', p.prosecdef,
      'grantees', (SELECT json_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC'
          ELSE pg_get_userbyid(grantee)::text END)
          FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee <> p.proowner),
      'schema_grantees', (SELECT json_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC'
          ELSE pg_get_userbyid(grantee)::text END)
          FROM aclexplode(n.nspacl) WHERE grantee <> n.nspowner AND privilege_type = 'USAGE'))
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname = 'pooler' AND p.proname = 'user_lookup'
        AND pg_get_function_identity_arguments(p.oid) = 'wanted text'));
"""

_RIGHTS = ("login", "superuser", "replication", "createrole", "createdb", "bypassrls")


@dataclass(frozen=True)
class Role:
    """A role that signs in. `password` is left out of repr: it must reach no message.

    The rights of a `system` role belong to whoever made it (initdb, Patroni); only its password is kept.
    """

    name: str
    password: str = field(repr=False)
    system: bool = False


@dataclass(frozen=True)
class Database:
    name: str
    owner: str


@dataclass(frozen=True)
class State:
    """What is there: a role's rights and stored secret, a database's owner and if everybody may connect."""

    roles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    databases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lookup: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Change:
    """One thing to do: what a person reads (`kind`, `name`, `action`, `detail`) and what the server reads."""

    kind: str
    name: str
    action: str
    sql: str = field(repr=False)
    detail: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "action": self.action, "detail": list(self.detail)}


def observed(answer: Mapping[str, Any]) -> State:
    """The answer to OBSERVE as a state."""
    return State(
        roles={role["name"]: role for role in answer.get("roles") or []},
        databases={database["name"]: database for database in answer.get("databases") or []},
        lookup=answer.get("lookup"),
    )


def plan(state: State, roles: Iterable[Role], databases: Iterable[Database], pooler: str | None) -> tuple[Change, ...]:
    """The changes that lead from `state` to what is wanted, in an order that can be carried out.

    Raises CeleryOpsError for names that cannot be used and for a database whose owner is not among the roles.
    """
    roles, databases = tuple(roles), tuple(databases)
    _check(roles, databases, pooler)
    changes = [change for role in roles for change in _role(state, role)]
    changes += [change for database in databases for change in _database(state, database)]
    if pooler is not None:
        changes += _lookup(state, pooler)
    return tuple(changes)


def script(changes: Iterable[Change]) -> str:
    """The statements of a plan. Neither they nor the secrets in them are to reach the server's log."""
    quiet = {
        "log_statement": "'none'",
        "log_min_error_statement": "'panic'",
        "log_min_duration_statement": "-1",
    }
    head = "".join(f"SET {name} = {value};\n" for name, value in quiet.items())
    return head + "".join(f"{change.sql}\n" for change in changes)


def _check(roles: tuple[Role, ...], databases: tuple[Database, ...], pooler: str | None) -> None:
    names = [role.name for role in roles]
    for what, name in [("role", n) for n in names] + [("database", d.name) for d in databases]:
        if not _NAME.fullmatch(name) or name.startswith("pg_"):
            raise CeleryOpsError(
                f"The {what} name '{name}' cannot be used",
                expected="a lower-case letter or _, then letters, digits or _; at most 63, not pg_ at first",
                found=name,
                remedy=f"Give the {what} another name.",
            )
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise CeleryOpsError(
            f"Roles are named more than once: {', '.join(doubled)}",
            expected="each role once",
            found=", ".join(names),
            remedy="Leave one entry of each; two entries could name two Secrets for one password.",
        )
    for wanted in [database.owner for database in databases] + ([pooler] if pooler else []):
        if wanted not in names:
            raise CeleryOpsError(
                f"The role '{wanted}' is needed but not described",
                expected=f"'{wanted}' among the roles",
                found=", ".join(names) or "no role",
                remedy=f"Add '{wanted}', with the Secret that holds its password, to the roles.",
            )


def _role(state: State, role: Role) -> list[Change]:
    identifier = f'"{role.name}"'
    found = state.roles.get(role.name)
    if found is None:
        secret = scram.make_secret(role.password)
        sql = f"CREATE ROLE {identifier} LOGIN PASSWORD '{secret}';"
        return [Change("role", role.name, "created", sql)]
    changes = []
    wrong = [] if role.system else [right for right in _RIGHTS if bool(found[right]) is not (right == "login")]
    if wrong:
        rights = " ".join(right.upper() if right == "login" else f"NO{right.upper()}" for right in wrong)
        changes.append(Change("role", role.name, "rights", f"ALTER ROLE {identifier} {rights};", tuple(rights.split())))
    if not scram.matches(found["secret"], role.password):
        sql = f"ALTER ROLE {identifier} PASSWORD '{scram.make_secret(role.password)}';"
        changes.append(Change("role", role.name, "password", sql))
    return changes


def _database(state: State, database: Database) -> list[Change]:
    name, owner = f'"{database.name}"', f'"{database.owner}"'
    close = f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;"
    found = state.databases.get(database.name)
    if found is None:
        sql = f"CREATE DATABASE {name} OWNER {owner};\n{close}"
        return [Change("database", database.name, "created", sql, (f"owner {database.owner}",))]
    changes = []
    if found["owner"] != database.owner:
        detail = (f"{found['owner']} -> {database.owner}",)
        sql = f"ALTER DATABASE {name} OWNER TO {owner};"
        changes.append(Change("database", database.name, "owner", sql, detail))
    if found["public"]:
        changes.append(Change("database", database.name, "rights", close, ("CONNECT for its owner only",)))
    return changes


def _lookup(state: State, pooler: str) -> list[Change]:
    wanted = {"body": _LOOKUP_BODY, "definer": True, "grantees": [pooler], "schema_grantees": [pooler]}
    if state.lookup == wanted:
        return []
    sql = f"""BEGIN;
CREATE SCHEMA IF NOT EXISTS pooler;
REVOKE ALL ON SCHEMA pooler FROM PUBLIC;
GRANT USAGE ON SCHEMA pooler TO "{pooler}";
DROP FUNCTION IF EXISTS pooler.user_lookup(text);
CREATE FUNCTION pooler.user_lookup(wanted text) RETURNS TABLE (name text, secret text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $lookup${_LOOKUP_BODY}$lookup$;
REVOKE ALL ON FUNCTION pooler.user_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pooler.user_lookup(text) TO "{pooler}";
COMMIT;"""
    return [Change("lookup", "pooler.user_lookup", "created" if state.lookup is None else "replaced", sql)]
