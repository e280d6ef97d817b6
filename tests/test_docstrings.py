"""The rules for docstrings of public names. New names are found automatically."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import itertools
import pkgutil
import re
import sqlite3
import textwrap
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

import cstar
import pytest_cstar
from cstar import AsyncCstar, Cstar, webhooks
from cstar.resources._resource import AsyncResource, Resource

if TYPE_CHECKING:
    from types import ModuleType

# ── Public names ─────────────────────────────────────────────────────────────────────────────────────────────────────

SOURCES = [*Path(cstar.__file__).parent.rglob("*.py"), Path(pytest_cstar.__file__)]


def public_modules() -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(cstar.__path__, "cstar.")]
    return [cstar, *(importlib.import_module(name) for name in names if "._" not in name)]


def listed(module: ModuleType) -> list[str]:
    # The models are listed by their package. A package without `__all__`, such as `cstar.resources`, has only modules.
    package = importlib.import_module(module.__package__ or module.__name__)
    names = getattr(module, "__all__", getattr(package, "__all__", ()))
    return [name for name in names if hasattr(module, name)]


@dataclass(frozen=True)
class Documented:
    """A public class, function, method, property or fixture, with its docstring.

    Attributes:
        name: The name, without the module.
        thing: The class or function; of a property, its getter.
        owner: The class of a method or property.
        is_property: Whether it is a property.
    """

    name: str
    thing: Any
    owner: type | None = None
    is_property: bool = False

    @property
    def text(self) -> str:
        return inspect.cleandoc(self.thing.__doc__ or "")

    def section(self, title: str) -> str:
        """The dedented text of a section such as `Args:`."""
        found = re.search(rf"^{title}:\n((?: {{4}}.*\n|\n)+)", self.text + "\n", re.MULTILINE)
        return textwrap.dedent(found[1]) if found else ""

    def described(self, title: str) -> set[str]:
        """The names described in a section."""
        return set(re.findall(r"^([\w.]+): \S", self.section(title), re.MULTILINE))


def surface() -> dict[int, tuple[str, Any]]:
    # By identity, because `cstar` re-exports the names of its modules.
    things: dict[int, tuple[str, Any]] = {}
    for module in public_modules():
        for name in listed(module):
            things.setdefault(id(getattr(module, name)), (name, getattr(module, name)))
    return things


def bases(cls: type) -> list[type]:
    return [each for each in cls.__mro__ if each.__module__.partition(".")[0] == "cstar"]


def members(name: str, cls: type) -> list[Documented]:
    found = {key: member for each in reversed(bases(cls)) for key, member in vars(each).items() if key[0] != "_"}
    callables = []
    for key, member in found.items():
        if isinstance(member, (property, cached_property)):
            getter = member.fget if isinstance(member, property) else member.func
            callables.append(Documented(f"{name}.{key}", getter, cls, is_property=True))
        elif inspect.isfunction(method := getattr(member, "__func__", member)):
            callables.append(Documented(f"{name}.{key}", method, cls))
    return callables


CLASSES = [Documented(name, each) for name, each in surface().values() if inspect.isclass(each)]
METHODS = [member for each in CLASSES for member in members(each.name, each.thing)]
FUNCTIONS = [Documented(name, each) for name, each in surface().values() if inspect.isfunction(each)]
FIXTURES = [Documented(name, inspect.unwrap(getattr(pytest_cstar, name))) for name in listed(pytest_cstar)]
VALUES = [name for name, each in surface().values() if not inspect.isclass(each) and not inspect.isfunction(each)]


def described_below(body: list[ast.stmt]) -> set[str]:
    """The variables and the attributes of `self` that have a docstring below their assignment."""
    names = set()
    for node, below in itertools.pairwise(body):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            for target in node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]:
                if isinstance(target, (ast.Name, ast.Attribute)):
                    names.add(target.id if isinstance(target, ast.Name) else target.attr)
    return names


def body_and_init(cls: type) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements of a class and of its `__init__`."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(node, ast.ClassDef)
    inits = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    return node.body, inits[0].body if inits else []


# ── Exceptions to the rules, with reasons ────────────────────────────────────────────────────────────────────────────

NOT_CONSTRUCTED_BY_USERS = {
    "AsyncPage": "a list returns it",
    "AsyncPaginator": "a list returns it",
    "AsyncRowIterator": "aiter() of a list returns it",
    "Faults": "an attribute of a Sandbox",
    "Page": "a list returns it",
    "RawResponse": "a raw call returns it",
    "RowIterator": "iter() of a list returns it",
}
NOT_CALLED_BY_USERS = {
    "Faults.decide": "the sandbox's server calls it for each request",
}
RAISES_NOTHING = {
    "AsyncCstar.aclose": "closing twice is allowed",
    "AsyncCstar.close": "closing twice is allowed",
    "AsyncRowIterator.aclose": "closing twice is allowed",
    "AsyncRowIterator.checkpoint": "it may be called at any time",
    "Cstar.close": "closing twice is allowed",
    "Faults.clear": "there may be no faults",
    "Faults.remove": "the fault may have been removed already",
    "Faults.decide": "it chooses among checked faults",
    "RowIterator.checkpoint": "it may be called at any time",
    "RowIterator.close": "closing twice is allowed",
}
CITES_NO_SOURCE = {
    "AsyncCstar.aclose": "it concerns the connections of this machine",
    "AsyncCstar.close": "it concerns the connections of this machine",
    "AsyncCstar.with_options": "it concerns the options of the client",
    "Cstar.close": "it concerns the connections of this machine",
    "Cstar.with_options": "it concerns the options of the client",
}


def is_constructed_by_users(documented: Documented) -> bool:
    # Users receive data classes, errors and enumerations. They get a resource from its client.
    cls = documented.thing
    is_received = is_dataclass(cls) or issubclass(
        cls, (BaseModel, BaseException, Enum, Resource, AsyncResource, tuple, dict)
    )
    is_excepted = documented.name.endswith("WithRawResponse") or documented.name in NOT_CONSTRUCTED_BY_USERS
    return not (is_received or is_excepted)


def must_cite_source(documented: Documented) -> bool:
    if documented.owner is None:
        return documented.thing.__module__ == webhooks.__name__
    sends_calls = issubclass(documented.owner, (Cstar, AsyncCstar, Resource, AsyncResource))
    return sends_calls and documented.name not in CITES_NO_SOURCE


CALLED = [each for each in METHODS if not each.is_property] + FUNCTIONS
CONSTRUCTED = [each for each in CLASSES if is_constructed_by_users(each)]


def each_of(*groups: list[Documented]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("documented", list(itertools.chain(*groups)), ids=lambda documented: documented.name)


# ── The rules ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("module", [*public_modules(), pytest_cstar], ids=lambda module: module.__name__)
def test_a_public_module_lists_every_name_without_underscore(module: ModuleType) -> None:
    defined = set()
    for node in ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            defined.add(node.name)
        else:
            nodes = list(ast.walk(node))
            loop_variables = {
                name for each in nodes if isinstance(each, ast.comprehension) for name in ast.walk(each.target)
            }
            names = [each for each in nodes if isinstance(each, ast.Name) and each not in loop_variables]
            defined |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    assert {name for name in defined if name[0] != "_"} <= set(listed(module))


@each_of(CLASSES, METHODS, FUNCTIONS, FIXTURES)
def test_every_public_name_has_a_docstring(documented: Documented) -> None:
    assert documented.text
    assert not documented.text.startswith(f"{documented.name}("), "this is the default docstring of a dataclass"


def test_every_constant_and_type_alias_has_a_docstring_below_it() -> None:
    described = (described_below(ast.parse(file.read_text(encoding="utf-8")).body) for file in SOURCES)
    assert set(VALUES) <= set().union(*described)


@each_of(CONSTRUCTED, CALLED)
def test_exactly_the_arguments_are_described(documented: Documented) -> None:
    parameters = set(inspect.signature(documented.thing).parameters) - {"self", "cls"}
    assert documented.described("Args") == parameters


@each_of(CLASSES)
def test_exactly_the_attributes_are_described(documented: Documented) -> None:
    cls = documented.thing
    attributes = set(cls.model_fields) if issubclass(cls, BaseModel) else set()
    attributes |= {field.name for field in fields(cls)} if is_dataclass(cls) else set()
    attributes |= set(cls.__annotations__) if issubclass(cls, (tuple, dict)) else set()
    described = set()
    for each in bases(cls) or [cls]:  # at run time, a TypedDict is a dict
        body, init = body_and_init(each)
        described |= described_below([*body, *init])
        # An editor that hovers over an attribute shows only the docstring below it.
        assert not Documented(each.__name__, each).described("Attributes")
        if not is_dataclass(each):
            nodes = (node for statement in init for node in ast.walk(statement) if isinstance(node, ast.Attribute))
            stored = {ast.unparse(node) for node in nodes if isinstance(node.ctx, ast.Store)}
            attributes |= {name.removeprefix("self.") for name in stored if re.match(r"self\.[a-z]\w*$", name)}
    assert described == attributes


@each_of(CALLED, FIXTURES)
def test_the_return_value_is_described(documented: Documented) -> None:
    title = "Yields" if inspect.isgeneratorfunction(documented.thing) else "Returns"
    returns = inspect.signature(documented.thing).return_annotation
    assert returns is not inspect.Signature.empty
    assert bool(documented.section(title)) == (returns != "None")


@each_of(CONSTRUCTED, CALLED)
def test_the_exceptions_are_described_and_exist(documented: Documented) -> None:
    raised = documented.described("Raises")
    assert bool(raised) == (documented.name not in RAISES_NOTHING)
    known = {**vars(builtins), **vars(cstar.errors), "sqlite3.Error": sqlite3.Error}
    assert [name for name in raised if not issubclass(known.get(name, object), Exception)] == []


@each_of(CONSTRUCTED, CALLED, FIXTURES)
def test_every_callable_has_an_example_in_python(documented: Documented) -> None:
    example = re.fullmatch(r"```python\n(.+)\n```\n*", documented.section("Example"), re.DOTALL)
    assert (example is None) == (documented.name in NOT_CALLED_BY_USERS)
    if example is not None:
        compile(example[1], documented.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@each_of([each for each in CALLED if must_cite_source(each)])
def test_an_api_call_cites_an_api_page_or_rfc(documented: Documented) -> None:
    assert re.search(r'API pages? "\w[^"]*"|RFC \d+', re.sub(r"\s+", " ", documented.text))


@pytest.mark.parametrize("client", [Cstar, AsyncCstar])
def test_the_value_of_a_default_is_described(client: type) -> None:
    args = re.sub(r"\s+", " ", Documented(client.__name__, client).section("Args"))
    for parameter in inspect.signature(client).parameters.values():
        if isinstance(parameter.default, (int, float, str)):
            shown = f'`"{parameter.default}"`' if isinstance(parameter.default, str) else f"{parameter.default:g}"
            assert re.search(rf"\b{parameter.name}: (?:(?! \w+: ).)+ By default {re.escape(shown)}\.", args)


@pytest.mark.parametrize(
    ("exceptions", "documented"),
    [
        (NOT_CONSTRUCTED_BY_USERS, CLASSES),
        (NOT_CALLED_BY_USERS, CALLED),
        (RAISES_NOTHING, CALLED),
        (CITES_NO_SOURCE, CALLED),
    ],
)
def test_every_exception_to_a_rule_still_exists(exceptions: dict[str, str], documented: list[Documented]) -> None:
    assert set(exceptions) <= {each.name for each in documented}
