"""The imports of the sandbox, which shares no code with the client."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import cstar.sandbox

SOURCES = sorted(Path(cstar.sandbox.__file__).parent.rglob("*.py"))


def imported_by(source):
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_module_of_the_sandbox_imports_the_client(source):
    ours = [name for name in imported_by(source) if name.startswith((".", "cstar"))]
    assert all(name == "cstar.sandbox" or name.startswith("cstar.sandbox.") for name in ours)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_module_of_the_sandbox_uses_httpx_or_tenacity(source):
    # Webhooks are the exception: the sandbox sends them.
    forbidden = {"tenacity"} if source.name == "_webhooks.py" else {"httpx", "tenacity"}
    assert not {name.partition(".")[0] for name in imported_by(source)} & forbidden


def test_importing_the_sandbox_does_not_import_httpx():
    # Replace the client, which always imports httpx, with an empty package.
    program = """if True:
        import sys, types
        sys.modules["cstar"] = client = types.ModuleType("cstar")
        client.__path__ = [sys.argv[1]]
        import cstar.sandbox._webhooks
        print("httpx" in sys.modules)
        cstar.sandbox._webhooks.Webhooks(["http://127.0.0.1/"], secret="whsec_x", team_id="x")
        print("httpx" in sys.modules)
        """
    package = Path(cstar.sandbox.__file__).parent.parent
    output = subprocess.run([sys.executable, "-c", program, package], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["False", "True"]


def test_the_modules_of_the_sandbox_have_no_import_cycle():
    imports = {source.stem: set() for source in SOURCES}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cstar.sandbox"):
                names = [node.module.rpartition(".")[2], *(alias.name for alias in node.names)]
                imports[source.stem] |= {name for name in names if name in imports}
    TopologicalSorter(imports).prepare()


def test_without_the_extra_the_error_says_what_to_install():
    program = """if True:
        import sys
        for missing in ("starlette", "markupsafe", "uvicorn"):
            sys.modules[missing] = None
            try:
                import cstar.sandbox
            except ImportError as error:
                print(error)
            del sys.modules[missing]
        """
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.count("cstar.sandbox needs the extra 'sandbox'") == 3
    assert output.count("Install cstar[sandbox] from the project's repository") == 3
    assert output.count("another project") == 3


def test_a_missing_module_outside_the_extra_is_reported_by_name():
    program = """if True:
        import sys
        sys.modules["sqlite3"] = None  # Python can be built without it
        try:
            import cstar.sandbox
        except ModuleNotFoundError as error:
            print(error.name, error, sep=": ")
        """
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.startswith("sqlite3: ")
    assert "extra" not in output
