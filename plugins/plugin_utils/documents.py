# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads Kubernetes objects on the controller: from files as they are, and from Jinja templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from jinja2 import Environment, TemplateSyntaxError, nodes

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.definitions import problems_in

__all__ = ["read", "render"]

_ENDINGS = (".yml", ".yaml", ".yml.j2", ".yaml.j2")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def render(action: ActionBase, names: Iterable[str], task_vars: Mapping[str, Any]) -> list[Any]:
    """The documents of templates and of folders of templates, searched for as `ansible.builtin.template` does.

    Raises CeleryOpsError with the first template that cannot be rendered, or with all that is wrong with the documents.
    """
    paths = (path for name in names for path in _files(action, name))
    return _checked(((path, _rendered(action, path, task_vars)) for path in paths), " as rendered")


def read(action: ActionBase, names: Iterable[str]) -> list[Any]:
    """The documents of files as they are, decrypted where Ansible Vault has encrypted them. Raises CeleryOpsError."""
    paths = (_find(action, "files", name) for name in names)
    return _checked(((path, _text(action, path)) for path in paths), "")


def _checked(contents: Iterable[tuple[Path, Any]], lines_are: str) -> list[Any]:
    found: list[Any] = []
    problems: list[str] = []
    for path, content in contents:
        try:
            for place, line, document in _documents(content):
                where = f"{path}, document {place} (line {line}{lines_are})"
                problems += [f"{where}: {problem}" for problem in problems_in(document)]
                found.append(document)
        except yaml.YAMLError as error:
            problems.append(f"{path}, {_told(error, lines_are)}")
    if problems:
        raise CeleryOpsError(
            "the definitions are not valid",
            expected="YAML documents of objects with apiVersion, kind and metadata.name",
            found="; ".join(problems),
            remedy="correct what is named; nothing was applied",
        )
    return found


def _find(action: ActionBase, folder: str, name: str) -> Path:
    """A file or folder on the controller: a role's own `folder`, then the playbook's, as every action looks for it."""
    try:
        return Path(action._find_needle(folder, name))
    except AnsibleError as error:
        stack = [str(Path(root, folder, name)) for root in action._task.get_search_path()]
        raise CeleryOpsError(
            f"{name} does not exist on the controller",
            expected=f"it in {folder} of the role or beside the playbook, or its absolute path",
            found=f"none of {', '.join(dict.fromkeys(stack))}" if stack else "no such file",
            remedy="correct its name",
        ) from error


def _files(action: ActionBase, name: str) -> list[Path]:
    path = _find(action, "templates", name)
    if not path.is_dir():
        return [path]
    files = sorted(one for one in path.iterdir() if one.name.endswith(_ENDINGS) and one.is_file())
    if not files:
        raise CeleryOpsError(
            f"the folder {path} holds no template",
            expected=f"files whose names end in {', '.join(_ENDINGS)}",
            found=", ".join(sorted(one.name for one in path.iterdir())) or "an empty folder",
            remedy="rename the templates, or name them one by one",
        )
    return files


def _rendered(action: ActionBase, path: Path, task_vars: Mapping[str, Any]) -> Any:
    """Text; or, where a template is nothing but one expression, its value."""
    roots = [*(task_vars.get("ansible_search_path") or []), action._loader.get_basedir(), str(path.parent)]
    places = [place for root in roots for place in (str(Path(root, "templates")), root)]
    templar = action._templar.copy_with_new_env(searchpath=places, available_variables=dict(task_vars))
    source = _text(action, path)
    try:
        return templar.template(trust_as_template(source), escape_backslashes=False, overrides={"trim_blocks": True})
    except AnsibleError as error:
        message = str(error.message)
        raise CeleryOpsError(
            f"the template {path} cannot be rendered",
            expected="a Jinja template whose variables are all defined",
            found=_where(error, message, source) + message + _origin(error, path),
            remedy="correct the template or define the variable; nothing was applied",
        ) from error


def _text(action: ActionBase, path: Path) -> str:
    try:
        return str(action._loader.get_text_file_contents(str(path)))
    except (AnsibleError, OSError, UnicodeDecodeError) as error:
        raise CeleryOpsError(
            f"{path} cannot be read",
            expected="a text file in UTF-8, plain or encrypted with a vault password that is given",
            found=str(getattr(error, "message", error)),
            remedy="correct the file, or name the vault's password",
        ) from error


def _where(error: BaseException, message: str, source: str) -> str:
    """The line of the template that an error is about, as far as it can be told."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TemplateSyntaxError):
            return f"line {cause.lineno}: "
        for frame, line in walk_tb(cause.__traceback__):
            if "__jinja_template__" in frame.f_globals:
                return f"line {frame.f_globals['__jinja_template__'].get_corresponding_lineno(line)}: "
        cause = cause.__cause__
    # Jinja keeps no line for what is undefined: the lines that use the name are what there is to tell.
    names = set(re.findall(r"'([^']+)'", message))
    lines = {
        node.lineno
        for node in Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])  # noqa: S701
        .parse(source)
        .find_all((nodes.Name, nodes.Getattr, nodes.Filter, nodes.Test))
        if getattr(node, "attr", None) in names or getattr(node, "name", None) in names
    }
    return f"line {' or '.join(map(str, sorted(lines)))}: " if lines else ""


def _origin(error: AnsibleError, path: Path) -> str:
    """Where the value is written whose evaluation failed, such as a role's default that refers to another variable."""
    context = getattr(error, "_formatted_source_context", None) or ""
    match = re.match(r"Origin: (\S+?:\d+)", context)
    return f" (in {match[1]})" if match and not match[1].startswith(f"{path}:") else ""


def _documents(content: Any) -> Iterator[tuple[int, int, Any]]:
    """(number, line at which it begins, value) of every document."""
    if not isinstance(content, str):
        values = content if isinstance(content, list) else [content]
        yield from ((place, 1, value) for place, value in enumerate(values, start=1))
        return
    # As bytes: the C parser takes no subclass of str, and what Ansible renders may be one.
    loader = _Loader(content.encode())
    try:
        place = 0
        while loader.check_node():
            place += 1
            node = loader.get_node()
            yield place, node.start_mark.line + 1, loader.construct_document(node)
    finally:
        loader.dispose()


def _told(error: yaml.YAMLError, lines_are: str) -> str:
    """Where and what, without the line itself: a secret may stand in it."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}{lines_are}: " if mark else ""
    said = [getattr(error, part, None) for part in ("context", "problem", "reason")]
    return where + (" ".join(str(part) for part in said if part) or "no YAML")
