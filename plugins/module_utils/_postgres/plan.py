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
    "ALTERNATE",
    "OBSERVE",
    "SETTINGS",
    "Change",
    "Database",
    "Role",
    "State",
    "observed",
    "plan",
    "rotate",
    "script",
    "users",
]

# A role has one password. Where two have to be valid at once, a second role of this name stands for it.
ALTERNATE = "_alt"

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,58}")

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
      'bypassrls', rolbypassrls, 'secret', rolpassword,
      'expires', CASE WHEN isfinite(rolvaliduntil) THEN rolvaliduntil END,
      'member_of', (SELECT json_agg(pg_get_userbyid(roleid)) FROM pg_auth_members WHERE member = a.oid),
      'settings', (SELECT setconfig FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0)))
      FROM pg_authid a WHERE rolname !~ '^pg_'),
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

    The rights of a `system` role belong to whoever made it (initdb, Patroni); only its password is kept. `login` is
    the role whose password it is: itself, or the alternate that stands for it since a rotation.
    """

    name: str
    password: str = field(repr=False)
    system: bool = False
    login: str = ""

    @property
    def user(self) -> str:
        return self.login or self.name


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
                expected="a lower-case letter or _, then letters, digits or _; at most 59, not pg_ at first",
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


def users(role: str) -> tuple[str, str]:
    """The two roles that may sign in for one: itself, and the alternate that stands for it."""
    return role, f"{role}{ALTERNATE}"


def rotate(state: State, role: str, current: str, password: str, grace: int) -> tuple[Change, str]:
    """The change that gives the role a second valid password, and the user whose it is.

    The user of before, `current`, may sign in for `grace` seconds more.
    """
    base, alternate = users(role)
    new = base if current == alternate else alternate
    verb = "ALTER" if new in state.roles else "CREATE"
    statements = [f"{verb} ROLE \"{new}\" LOGIN PASSWORD '{scram.make_secret(password)}' VALID UNTIL 'infinity';"]
    if new == alternate:
        statements.append(_stand_for(base, alternate))
    expiry = f"format('ALTER ROLE %I VALID UNTIL %L', '{current}', now() + interval '{int(grace)} s')"
    statements.append(f"DO $rotate$ BEGIN EXECUTE {expiry}; END $rotate$;")
    sql = "\n".join(("BEGIN;", *statements, "COMMIT;"))
    return Change("role", role, "rotated", sql, (f"{current} -> {new}",)), new


def _stand_for(base: str, alternate: str) -> str:
    """Whoever signs in as the alternate acts as the role itself, which so owns what is made."""
    return f'GRANT "{base}" TO "{alternate}";\nALTER ROLE "{alternate}" SET role = \'{base}\';'


def _role(state: State, role: Role) -> list[Change]:
    if role.user == role.name:
        return _login(state, role.name, role.password, system=role.system)
    changes = []
    if role.name not in state.roles:
        changes.append(Change("role", role.name, "created", f'CREATE ROLE "{role.name}" LOGIN;'))
    else:
        changes += _rights(state, role.name)
    changes += _login(state, role.user, role.password, system=False)
    found = state.roles.get(role.user, {})
    told = f"role={role.name}" in (found.get("settings") or [])
    if not told or role.name not in (found.get("member_of") or []):
        sql = _stand_for(role.name, role.user)
        changes.append(Change("role", role.user, "membership", sql, (f"stands for {role.name}",)))
    return changes


def _login(state: State, name: str, password: str, *, system: bool) -> list[Change]:
    identifier = f'"{name}"'
    found = state.roles.get(name)
    if found is None:
        secret = scram.make_secret(password)
        sql = f"CREATE ROLE {identifier} LOGIN PASSWORD '{secret}';"
        return [Change("role", name, "created", sql)]
    changes = [] if system else _rights(state, name)
    if not scram.matches(found["secret"], password):
        sql = f"ALTER ROLE {identifier} PASSWORD '{scram.make_secret(password)}';"
        changes.append(Change("role", name, "password", sql))
    if found.get("expires"):
        sql = f"ALTER ROLE {identifier} VALID UNTIL 'infinity';"
        changes.append(Change("role", name, "expiry", sql, ("never",)))
    return changes


def _rights(state: State, name: str) -> list[Change]:
    found = state.roles[name]
    wrong = [right for right in _RIGHTS if bool(found[right]) is not (right == "login")]
    if not wrong:
        return []
    rights = " ".join(right.upper() if right == "login" else f"NO{right.upper()}" for right in wrong)
    return [Change("role", name, "rights", f'ALTER ROLE "{name}" {rights};', tuple(rights.split()))]


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
