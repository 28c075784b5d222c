"""The package as a whole: what importing it costs, and how its files depend on each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_hypsae

PACKAGE = Path(sklearn_hypsae.__file__).parent
STEPS = ("embedding", "sae", "selection", "interpretation", "validation")
HEAVY = (
    "torch",
    "skorch",
    "openai",
    "vllm",
    "sentence_transformers",
    "transformers",
    "statsmodels",
    "matplotlib",
)


def imported_modules(path):
    """Dotted names that a file imports; relative ones start with a dot."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, sklearn_hypsae; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("step", STEPS)
def test_steps_do_not_import_each_other(step):
    others = {f".{other}" for other in (*STEPS, "discovery") if other != step}
    assert not others & set(imported_modules(PACKAGE / f"{step}.py"))


def test_only_one_file_imports_private_scikit_learn_names():
    for path in PACKAGE.rglob("*.py"):
        private = [
            name
            for name in imported_modules(path)
            if name.startswith("sklearn.") and any(part.startswith("_") for part in name.split("."))
        ]
        assert not private or path.name == "_sklearn.py", f"{path.name} imports {private}"


def test_every_public_name_is_documented_and_importable():
    for name in sklearn_hypsae.__all__:
        assert getattr(sklearn_hypsae, name).__doc__
