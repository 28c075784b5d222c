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


def imported_names(path):
    """Dotted names of all that a file imports, modules too; relative ones start with a dot."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            separator = "." if node.module else ""
            yield from (f"{module}{separator}{alias.name}" for alias in node.names)


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, sklearn_hypsae; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("step", STEPS)
def test_steps_do_not_import_each_other(step):
    others = {f".{other}" for other in (*STEPS, "discovery") if other != step}
    assert not others & set(imported_names(PACKAGE / f"{step}.py"))


def private_scikit_learn_names(path):
    return [
        name
        for name in imported_names(path)
        if name.startswith("sklearn.") and any(part.startswith("_") for part in name.split("."))
    ]


def test_only_one_file_imports_private_scikit_learn_names():
    for path in PACKAGE.rglob("*.py"):
        private = private_scikit_learn_names(path)
        assert not private or path == PACKAGE / "_sklearn.py", f"{path} imports {private}"


@pytest.mark.parametrize(
    "line",
    [
        "from sklearn.base import _fit_context",
        "from sklearn import _config",
        "from sklearn.utils._param_validation import Interval",
        "import sklearn.utils._param_validation",
    ],
)
def test_a_private_name_is_seen_however_it_is_imported(tmp_path, line):
    path = tmp_path / "module.py"
    path.write_text(f"from sklearn.base import clone\n{line}\n")
    assert private_scikit_learn_names(path)


def test_every_public_name_is_documented_and_importable():
    for name in sklearn_hypsae.__all__:
        assert getattr(sklearn_hypsae, name).__doc__
