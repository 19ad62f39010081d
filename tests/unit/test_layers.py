# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers of the collection, read from its source: who may import what, and who ends a module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
UTILS = PLUGINS / "module_utils"
OWN = "ansible_collections.celeryops.platform"

# The adapters, and what each of them adapts. Everything else imports the standard library only.
ADAPTERS = {
    "_kube/channels.py": {"websocket"},
    "_kube/session.py": {"ansible", "kubernetes", "requests", "urllib3"},
    "_kube/yamlio.py": {"yaml"},
    "_kubeconfig/store.py": {"yaml"},
    "_redis/server.py": {"redis"},
}
# Programs that are sent into the application's pods and run there, beside the application's own libraries.
INSIDE = {
    "_beat/inside/": {"celery", "django", "django_celery_beat"},
    "_celery/backlog.py": {"redis"},
    "_celery/inside.py": {"celery", "django", "django_celery_beat"},
    "_celery/inside_letters.py": {"celery", "celeryops_probe"},
    "_celery/look.py": {"celery", "django"},
    "_celery/survey.py": {"celery", "django", "django_celery_beat"},
    "_drill/inside.py": {"celery", "celeryops_probe"},
    "_doctor/inside.py": {"celery", "django", "django_celery_beat"},
}
LONGEST_MODULE = 100


def sources(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    assert found, f"no source below {folder}"
    return found


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module), node


def allowed(path: Path) -> set[str]:
    name = path.relative_to(UTILS).as_posix()
    inside = next((libraries for prefix, libraries in INSIDE.items() if name.startswith(prefix)), set())
    return ADAPTERS.get(name, set()) | inside


@pytest.mark.parametrize("path", sources(UTILS), ids=lambda path: path.relative_to(UTILS).as_posix())
def test_module_utils_import_the_standard_library_only(path: Path) -> None:
    foreign = {
        name
        for name, _node in imports(ast.parse(path.read_text(encoding="utf-8")))
        if not name.startswith(OWN) and name.partition(".")[0] not in sys.stdlib_module_names | allowed(path)
    }
    assert not foreign, f"{path.relative_to(UTILS)} is no adapter, but imports {', '.join(sorted(foreign))}"


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_can_be_imported_without_their_libraries(name: str) -> None:
    """A library that is missing is an error of the module, in words; not a traceback at import."""
    tree = ast.parse((UTILS / name).read_text(encoding="utf-8"))
    libraries = ADAPTERS[name] - {"ansible"}
    unguarded = [
        module
        for module, node in imports(
            ast.Module([one for one in tree.body if isinstance(one, (ast.Import, ast.ImportFrom))], [])
        )
        if module.partition(".")[0] in libraries
    ]
    assert not unguarded, f"{name} imports {', '.join(unguarded)} without a guard"


def without_documentation(tree: ast.Module) -> list[ast.stmt]:
    def is_documentation(node: ast.stmt) -> bool:
        targets = node.targets if isinstance(node, ast.Assign) else []
        return any(isinstance(one, ast.Name) and one.id in ("DOCUMENTATION", "EXAMPLES", "RETURN") for one in targets)

    return [node for node in tree.body if not is_documentation(node)]


@pytest.mark.parametrize("path", sources(PLUGINS / "modules"), ids=lambda path: path.stem)
def test_modules_are_short(path: Path) -> None:
    body = without_documentation(ast.parse(path.read_text(encoding="utf-8")))
    lines = sum(int(node.end_lineno or 0) - node.lineno + 1 for node in body)
    assert lines <= LONGEST_MODULE, f"{path.name} has {lines} lines beside its documentation"


def enders(tree: ast.AST, function: str = "") -> Iterator[str]:
    """The functions in which a module is ended."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef) else function
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("exit_json", "fail_json")
        ):
            yield function
        yield from enders(node, inner)


@pytest.mark.parametrize("path", sources(PLUGINS / "modules"), ids=lambda path: path.stem)
def test_only_main_ends_a_module(path: Path) -> None:
    assert set(enders(ast.parse(path.read_text(encoding="utf-8")))) <= {"main"}


def test_nothing_else_ends_a_module() -> None:
    found = {
        path.relative_to(UTILS).as_posix()
        for path in sources(UTILS)
        if list(enders(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {"_module.py"}, "run_module is what main() calls, and the only other place"
