"""Who may import whom: one way down, the driver in one package, Flask at the edge."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

FLASK = ("fhir_server/app.py", "fhir_server/portal/", "fhir_server/rest/", "fhir_server/smart/")
STORAGE = ("fhir_server/storage/",)


def imported(module: ast.Module) -> Iterator[str]:
    """Yield the top-level name of every absolute import."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def importers(modules: dict[str, ast.Module], names: set[str], allowed: tuple[str, ...]) -> list[str]:
    return [path for path, module in modules.items() if not path.startswith(allowed) and names & set(imported(module))]


def test_imports_go_one_way_down(root: Path) -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    result = subprocess.run([*command, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_storage_knows_the_database_driver(modules: dict[str, ast.Module]) -> None:
    assert importers(modules, {"pymongo", "bson", "gridfs"}, STORAGE) == []


def test_only_the_edge_knows_flask(modules: dict[str, ast.Module]) -> None:
    assert importers(modules, {"flask", "werkzeug"}, FLASK) == []


def test_every_import_is_absolute(modules: dict[str, ast.Module]) -> None:
    relative = [
        path
        for path, module in modules.items()
        if any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(module))
    ]
    assert relative == []


def test_only_the_settings_read_the_environment(modules: dict[str, ast.Module]) -> None:
    def reads(module: ast.Module) -> bool:
        return any(ast.unparse(each) in ("os.environ", "os.environb", "os.getenv") for each in ast.walk(module))

    assert [path for path, module in modules.items() if reads(module)] == ["fhir_server/settings.py"]


def test_every_import_is_declared(root: Path, modules: dict[str, ast.Module]) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["embedded"], "werkzeug"]  # Flask's own
    declared = {re.split(r"[<>=;\[ ]", requirement, maxsplit=1)[0] for requirement in requirements}
    providers = packages_distributions()
    undeclared = {
        name
        for module in modules.values()
        for name in imported(module)
        if name not in sys.stdlib_module_names
        and name != "fhir_server"
        and not declared & {each.lower().replace("_", "-") for each in providers.get(name, [])}
    }
    assert undeclared == set()
