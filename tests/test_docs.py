"""What the documentation promises about itself. `.ci/docs` builds it, and Sybil runs its code: see conftest.py."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cstar
import cstar.sandbox
import cstar.webhooks
import pytest_cstar
from cstar import CstarError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ERRORS = [each for each in vars(cstar).values() if isinstance(each, type) and issubclass(each, CstarError)]
FIXTURES = {name for name in vars(pytest_cstar) if name.endswith(("cstar_sandbox", "cstar_client"))}

FENCE = re.compile(
    r"^(?P<indent> *)``` ?(?P<language>\{[^\n]*\}|\S*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


def text(*pages: Path) -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.parametrize("module", [cstar, cstar.webhooks, cstar.sandbox], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module) -> None:
    shown = re.findall(rf"^::: {re.escape(module.__name__)}\.(\w+)$", text(*PAGES), re.MULTILINE)
    assert sorted(shown) == sorted(module.__all__)


def test_every_fixture_is_in_the_reference() -> None:
    assert set(re.findall(r"^::: pytest_cstar\.(\w+)$", text(*PAGES), re.MULTILINE)) == FIXTURES != set()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_a_page_that_says_when_it_comes_and_what_to_do(error: type[CstarError]) -> None:
    page = text(DOCS / "errors" / f"{error.__name__}.md")
    assert re.findall(r"^##? (.+)$", page, re.MULTILINE)[:3] == [error.__name__, "When it comes", "What to do"]
    assert f"[cstar.{error.__name__}]" in page


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_page_of_an_error_catches_it(error: type[CstarError]) -> None:
    blocks = FENCE.finditer(text(DOCS / "errors" / f"{error.__name__}.md"))
    assert any(
        re.search(rf"except {error.__name__}\b", block["body"]) for block in blocks if block["language"] == "python"
    )


def test_the_tree_of_errors_is_the_true_one() -> None:
    told: dict[str, str] = {}
    above: list[str] = []
    for indent, name in re.findall(r"^( *)- \[`(\w+)`\]\(\2\.md\)", text(DOCS / "errors" / "index.md"), re.MULTILINE):
        above = [*above[: len(indent) // 4], name]
        told[name] = above[-2] if len(above) > 1 else "Exception"
    assert told == {error.__name__: error.__bases__[0].__name__ for error in ERRORS}


def test_every_example_is_shown() -> None:
    shown = set(re.findall(r'--8<-- "examples/([^"]+)"', text(*PAGES)))
    assert shown == {path.name for path in (ROOT / "examples").glob("*.py")} != set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_no_python_is_shown_that_is_not_run(page: Path) -> None:
    for block in FENCE.finditer(text(page)):
        # Sybil runs "python"; the programs of examples/ have tests of their own.
        assert block["language"] in {"python", "{ .python }", "sh", "text"}
        if block["language"] == "{ .python }":
            assert re.fullmatch(r'\s*--8<-- "examples/\w+\.py"\s*', block["body"])


SCOPES = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
    ast.ClassDef,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)


def nodes_of(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope, including nested scopes but not their contents."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, SCOPES):
            yield from nodes_of(child)


def bound_names(scope: ast.AST) -> Iterator[str]:
    """Yield the names that a scope binds, without those of nested scopes."""
    for node in nodes_of(scope):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=alias):
                yield alias or name.partition(".")[0]


def unbound_names(scope: ast.AST, known: set[str]) -> Iterator[ast.Name]:
    """Yield the names that a scope loads and neither it nor an enclosing scope binds."""
    known = known | set(bound_names(scope))
    for node in nodes_of(scope):
        if isinstance(node, SCOPES):
            yield from unbound_names(node, known)
        elif isinstance(node, ast.Name) and node.id not in known:
            yield node


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_visible_blocks_use_no_name_that_only_a_hidden_block_binds(page: Path) -> None:
    source = text(page)
    known = set(dir(builtins))
    unbound: list[str] = []
    for block in FENCE.finditer(source):
        if block["language"] == "python":
            module = ast.parse(textwrap.dedent(block["body"]))
            fence = source.count("\n", 0, block.start()) + 1
            unbound += [
                f"{page.relative_to(ROOT)}:{fence + name.lineno}: {name.id}" for name in unbound_names(module, known)
            ]
            known |= set(bound_names(module))
    assert not unbound, "\n".join(unbound)
