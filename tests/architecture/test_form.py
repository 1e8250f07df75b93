"""The form of the code: docstrings and names must be right; long files and functions are only pointed at."""

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

Function = ast.FunctionDef | ast.AsyncFunctionDef

LONGEST_FILE = 400
LONGEST_FUNCTION = 40
PACKAGE_WORDS = ("Owns", "Does not own", "Reads", "Spec")
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}
# Somebody's own directories, on any machine.
PRIVATE_PATH = re.compile(r"/(?:home|Users|root)/[a-z]")


def test_a_package_says_what_it_owns_and_holds_no_code(modules: dict[str, ast.Module]) -> None:
    wrong = {}
    for path, module in modules.items():
        if not path.endswith("/__init__.py") or path == "fhir_server/__init__.py":
            continue
        docstring = ast.get_docstring(module) or ""
        missing = [word for word in PACKAGE_WORDS if f"{word}" not in docstring]
        if missing or "rites" not in docstring or len(module.body) != 1:
            wrong[path] = missing or ["code or no word of what it writes"]
    assert wrong == {}


def test_everything_public_has_a_docstring(modules: dict[str, ast.Module]) -> None:
    described = {name for module in modules.values() for name in protocol_methods(module)}
    missing = [
        f"{path}:{line} {name}" for path, module in modules.items() for line, name in undocumented(module, described)
    ]
    assert missing == []


def protocol_methods(module: ast.Module) -> Iterator[str]:
    """Yield the names of methods that a protocol documents for all its implementations."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(each).startswith("Protocol") for each in node.bases):
            yield from (each.name for each in node.body if isinstance(each, Function) and ast.get_docstring(each))


def undocumented(module: ast.Module, described: set[str]) -> Iterator[tuple[int, str]]:
    """Yield line and name of what is public and has no docstring; a method that overrides inherits its own."""
    if not ast.get_docstring(module):
        yield 1, "module"
    for node in module.body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not overloaded(node):
            yield node.lineno, node.name
        if isinstance(node, ast.ClassDef) and not node.bases:
            methods = [each for each in node.body if isinstance(each, Function) and not each.name.startswith("_")]
            for method in methods:
                if not (method.name in described or ast.get_docstring(method) or overloaded(method)):
                    yield method.lineno, f"{node.name}.{method.name}"


def overloaded(node: ast.ClassDef | Function) -> bool:
    """Return whether another definition of the same name carries the docstring."""
    decorators = {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}
    return bool(decorators & {"overload", "setter"})


def test_no_module_is_named_after_what_it_is_not(modules: dict[str, ast.Module]) -> None:
    assert [path for path in modules if Path(path).stem in EMPTY_NAMES or Path(path).parent.name in EMPTY_NAMES] == []


def test_nothing_committed_names_somebodys_directories(texts: dict[str, str]) -> None:
    here = "tests/architecture/test_form.py"
    assert [path for path, text in texts.items() if path != here and PRIVATE_PATH.search(text)] == []


def test_the_locks_name_no_address(root: Path) -> None:
    for lock in root.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index-url" not in text


def test_tests_are_not_skipped(texts: dict[str, str]) -> None:
    skipping = re.compile(r"pytest\.(skip|importorskip|xfail)\(|mark\.(skip|xfail)|time\.sleep\((?:[1-9][0-9]|[2-9])")
    here = "tests/architecture/test_form.py"
    assert [
        path for path, text in texts.items() if path.startswith("tests/") and path != here and skipping.search(text)
    ] == []


@pytest.mark.filterwarnings("default")
def test_long_files_and_functions_are_pointed_at(root: Path, modules: dict[str, ast.Module]) -> None:
    for path, module in modules.items():
        lines = (root / path).read_text(encoding="utf-8").count("\n")
        if lines > LONGEST_FILE:
            warnings.warn(f"{path} has {lines} lines; is it two things?", stacklevel=1)
        for node in ast.walk(module):
            if isinstance(node, Function) and (length := body_length(node)) > LONGEST_FUNCTION:
                warnings.warn(f"{path}:{node.lineno} {node.name} has {length} lines; is it two things?", stacklevel=1)


def body_length(function: Function) -> int:
    """Return the lines of the body, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
