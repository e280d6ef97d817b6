"""The consistency of the documentation: its reference, errors, links, examples and code blocks.

`.ci/docs` builds the documentation. Sybil runs its Python blocks: see `conftest.py` in the root directory.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import itertools
import re
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cstar
import cstar.sandbox
import cstar.webhooks
import pytest_cstar
from cstar import AsyncCstar, Cstar, CstarError
from support import KEY
from test_surface import resources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


def in_reference(module: str) -> list[str]:
    """Return the names of a module that mkdocstrings documents."""
    return re.findall(rf"^::: {re.escape(module)}\.(\w+)$", text(*PAGES), re.MULTILINE)


def assert_listed(listed: Iterable[str], expected: Iterable[str], place: str) -> None:
    """Check that a place lists exactly the expected names, each once."""
    missing, surplus = Counter(expected) - Counter(listed), Counter(listed) - Counter(expected)
    assert not missing, f"add to {place}: {', '.join(missing)}"
    assert not surplus, f"remove from {place}: {', '.join(surplus)}"


@pytest.mark.parametrize("module", [cstar, cstar.webhooks, cstar.sandbox], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module) -> None:
    place = f"docs/reference, as `::: {module.__name__}.NAME`"
    assert_listed(in_reference(module.__name__), module.__all__, place)


@pytest.mark.parametrize("build", [Cstar, AsyncCstar])
def test_every_resource_is_in_the_reference(build: type[Cstar | AsyncCstar]) -> None:
    for resource in map(type, resources(build(KEY)).values()):
        names = in_reference(resource.__module__)
        assert_listed(names, [resource.__name__], f"docs/reference, as `::: {resource.__module__}.NAME`")


def test_every_fixture_is_in_the_reference() -> None:
    assert FIXTURES
    assert_listed(in_reference("pytest_cstar"), FIXTURES, "docs/reference, as `::: pytest_cstar.NAME`")


def error_sections() -> dict[str, str]:
    """Return the sections of the page of errors by their headings."""
    parts = re.split(r"^## (.+)$", text(DOCS / "errors.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_error_has_a_section_in_the_order_of_the_tree() -> None:
    expected = ["All errors", *(error.__name__ for error in depth_first(CstarError))]
    sections = list(error_sections())
    assert_listed(sections, expected, "docs/errors.md, as `## NAME`")
    assert sections == expected


def depth_first(error: type[CstarError]) -> Iterator[type[CstarError]]:
    """Yield a class of errors and its public subclasses."""
    yield error
    for each in error.__subclasses__():
        if each in ERRORS:
            yield from depth_first(each)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_the_section_of_an_error_gives_advice_and_a_handler(error: type[CstarError]) -> None:
    section = error_sections().get(error.__name__, "")
    code = [block["body"] for block in FENCE.finditer(section) if block["language"] == "python"]
    assert "**What to do.**" in section, f"add **What to do.** to the section {error.__name__} of docs/errors.md"
    assert re.search(rf"except {error.__name__}\b", "\n".join(code)), "add a Python block that catches the error"


def test_the_tree_of_errors_matches_the_base_classes() -> None:
    lines: list[str] = []
    path: list[str] = []
    for indent, name, anchor in re.findall(
        r"^( *)- \[`(\w+)`\]\(#(\w+)\)", error_sections()["All errors"], re.MULTILINE
    ):
        assert anchor == name.lower()
        path = [*path[: len(indent) // 4], name]
        lines.append(f"{name} below {path[-2] if len(path) > 1 else 'Exception'}")
    expected = [f"{error.__name__} below {error.__bases__[0].__name__}" for error in ERRORS]
    assert_listed(lines, expected, "the tree in docs/errors.md")


@pytest.mark.parametrize("page", ["README.md", "docs/errors.md", "docs/index.md", "docs/quickstart.md"])
def test_the_output_on_a_page_is_that_of_its_programs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare standard output with the comment after each `print(…)`, or the `text` block below; `…` is any text."""
    names: dict[str, object] = {}
    compared = 0
    with cstar.sandbox.Sandbox(customers=250) as box:
        monkeypatch.setenv("CSTAR_API_KEY", box.api_key)
        monkeypatch.setenv("CSTAR_BASE_URL", box.url)
        blocks = list(FENCE.finditer(text(ROOT / page)))
        for block, following in itertools.zip_longest(blocks, blocks[1:]):
            if block["language"] != "python":
                continue
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(textwrap.dedent(block["body"]), page, "exec"), names)
            if following and following["language"] == "text":
                expected = following["body"].splitlines()
            else:
                expected = re.findall(r"^ *print\(.+\)  # (.+)$", block["body"], re.MULTILINE)
                if not expected:
                    continue
            pattern = "\n".join(re.escape(line).replace("…", ".*") for line in expected) + "\n"
            assert re.fullmatch(pattern, output.getvalue(), re.DOTALL), output.getvalue()
            compared += len(expected)
    assert compared


def test_llms_txt_links_every_page_except_the_front_page() -> None:
    links = re.findall(r"^- \[[^\]]+\]\(([\w/-]+)/\)", text(DOCS / "llms.txt"), re.MULTILINE)
    pages = [str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page.name != "index.md"]
    assert_listed(links, pages, "docs/llms.txt")


def test_all_project_urls_are_in_the_repository() -> None:
    [address] = re.findall(r"^repo_url: (\S+)$", text(ROOT / "mkdocs.yml"), re.MULTILINE)
    urls = text(ROOT / "pyproject.toml").partition("[project.urls]\n")[2].partition("\n\n")[0]
    assert urls
    assert all(line.split(' = "')[1].startswith(address) for line in urls.splitlines())


def test_every_example_is_on_a_page() -> None:
    included = set(re.findall(r'--8<-- "examples/([^"]+)"', text(*PAGES)))
    examples = [path.name for path in (ROOT / "examples").glob("*.py")]
    assert examples
    assert_listed(included, examples, 'a page in docs, as `--8<-- "examples/NAME"`')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_python_block_is_run(page: Path) -> None:
    for block in FENCE.finditer(text(page)):
        # Sybil runs "python"; tests/test_examples.py and tests/engines run the programs in examples/.
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
