"""What a package shows is what it imports: __all__ is complete, sorted by ruff, and every name in it exists."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import lstmkit

SOURCE = Path(__file__).parents[2] / "src"
PACKAGES = sorted(
    ".".join(file.parent.relative_to(SOURCE).parts) for file in SOURCE.rglob("__init__.py") if file.read_text().strip()
)


def reexported(package: str) -> set[str]:
    """Public names that a package imports from its own modules."""
    tree = ast.parse((SOURCE / Path(*package.split(".")) / "__init__.py").read_text())
    froms = [node for node in tree.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package)]
    return {alias.asname or alias.name for node in froms for alias in node.names}


@pytest.mark.parametrize("package", PACKAGES)
def test_all__matches_imports(package: str) -> None:
    module = import_module(package)
    shown = set(getattr(module, "__all__", ()))
    assert reexported(package) <= shown
    missing = {name for name in shown if not hasattr(module, name)}
    assert not missing


def test_root__equals_its_lazy_table() -> None:
    assert set(lstmkit.__all__) == set(dir(lstmkit))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lstmkit.nonsense
