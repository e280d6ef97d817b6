"""What every docstring of the public surface says. New names are found, and held to the same rules."""

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

# ── What is public ───────────────────────────────────────────────────────────────────────────────────────────────────

SOURCES = [*Path(cstar.__file__).parent.rglob("*.py"), Path(pytest_cstar.__file__)]


def public_modules() -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(cstar.__path__, "cstar.")]
    return [cstar, *(importlib.import_module(name) for name in names if "._" not in name)]


def listed(module: ModuleType) -> list[str]:
    # The models are listed by their package. One without a list, such as `cstar.resources`, offers its modules only.
    package = importlib.import_module(module.__package__ or module.__name__)
    names = getattr(module, "__all__", getattr(package, "__all__", ()))
    return [name for name in names if hasattr(module, name)]


@dataclass(frozen=True)
class Documented:
    """A public class, or something of a public name that can be called or read, and its docstring.

    Attributes:
        name: What to call it, without the module.
        thing: The class, function, fixture, or what a property calls.
        owner: The class whose member this is.
        is_property: Whether it is read instead of called.
    """

    name: str
    thing: Any
    owner: type | None = None
    is_property: bool = False

    @property
    def text(self) -> str:
        return inspect.cleandoc(self.thing.__doc__ or "")

    def section(self, title: str) -> str:
        """What stands under a heading such as `Args:`, with its indentation taken out."""
        found = re.search(rf"^{title}:\n((?: {{4}}.*\n|\n)+)", self.text + "\n", re.MULTILINE)
        return textwrap.dedent(found[1]) if found else ""

    def described(self, title: str) -> set[str]:
        """The names that have a description under a heading."""
        return set(re.findall(r"^([\w.]+): \S", self.section(title), re.MULTILINE))


def surface() -> dict[int, tuple[str, Any]]:
    # By identity: `cstar` offers again what its modules offer.
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

# ── What the rules leave out, and why ────────────────────────────────────────────────────────────────────────────────

NOT_MADE_BY_USERS = {
    "AsyncPage": "a list returns it",
    "AsyncPaginator": "a list returns it",
    "AsyncRowIterator": "aiter() of a list returns it",
    "Faults": "a Sandbox has it",
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
    "Faults.clear": "there may be none",
    "Faults.remove": "the fault may be gone already",
    "Faults.decide": "it chooses among checked faults",
    "RowIterator.checkpoint": "it may be called at any time",
    "RowIterator.close": "closing twice is allowed",
}
SAYS_NOTHING_OF_THE_API = {
    "AsyncCstar.aclose": "it is about this machine's connections",
    "AsyncCstar.close": "it is about this machine's connections",
    "AsyncCstar.with_options": "it is about the client's own options",
    "Cstar.close": "it is about this machine's connections",
    "Cstar.with_options": "it is about the client's own options",
}


def is_made_by_users(documented: Documented) -> bool:
    # Models and dataclasses, errors and enumerations are received, too; what they hold is under `Attributes`.
    # A resource is had from its client, and its raw form from the resource.
    cls = documented.thing
    # So are named tuples and typed dictionaries.
    received = is_dataclass(cls) or issubclass(
        cls, (BaseModel, BaseException, Enum, Resource, AsyncResource, tuple, dict)
    )
    return not (received or documented.name.endswith("WithRawResponse") or documented.name in NOT_MADE_BY_USERS)


def about_the_api(documented: Documented) -> bool:
    if documented.owner is None:
        return documented.thing.__module__ == webhooks.__name__
    is_caller = issubclass(documented.owner, (Cstar, AsyncCstar, Resource, AsyncResource))
    return is_caller and documented.name not in SAYS_NOTHING_OF_THE_API


CALLED = [each for each in METHODS if not each.is_property] + FUNCTIONS
MADE = [each for each in CLASSES if is_made_by_users(each)]


def each_of(*groups: list[Documented]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("documented", list(itertools.chain(*groups)), ids=lambda documented: documented.name)


# ── The rules ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("module", [*public_modules(), pytest_cstar], ids=lambda module: module.__name__)
def test_what_a_public_module_defines_is_listed_or_underscored(module: ModuleType) -> None:
    defined = set()
    for node in ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            defined.add(node.name)
        else:
            nodes = list(ast.walk(node))
            of_loops = {name for each in nodes if isinstance(each, ast.comprehension) for name in ast.walk(each.target)}
            names = [each for each in nodes if isinstance(each, ast.Name) and each not in of_loops]
            defined |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    assert {name for name in defined if name[0] != "_"} <= set(listed(module))


@each_of(CLASSES, METHODS, FUNCTIONS, FIXTURES)
def test_it_has_a_docstring(documented: Documented) -> None:
    assert documented.text
    assert not documented.text.startswith(f"{documented.name}("), (
        "this is what dataclass() makes up where there is none"
    )


def test_a_type_or_a_constant_has_a_docstring_below_it() -> None:
    documented = {
        target.id
        for file in SOURCES
        for node, below in itertools.pairwise(ast.parse(file.read_text(encoding="utf-8")).body)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        if isinstance(target, ast.Name)
    }
    assert set(VALUES) <= documented


@each_of(MADE, CALLED)
def test_every_argument_is_described_and_no_other(documented: Documented) -> None:
    parameters = set(inspect.signature(documented.thing).parameters) - {"self", "cls"}
    assert documented.described("Args") == parameters


@each_of(CLASSES)
def test_every_attribute_is_described_and_no_other(documented: Documented) -> None:
    cls = documented.thing
    attributes = set(cls.model_fields) if issubclass(cls, BaseModel) else set()
    attributes |= {field.name for field in fields(cls)} if is_dataclass(cls) else set()
    attributes |= set(cls.__annotations__) if issubclass(cls, (tuple, dict)) else set()
    described = set()
    for each in bases(cls) or [cls]:  # a typed dictionary is a dict at run time
        described |= Documented(each.__name__, each).described("Attributes")
        if "__init__" in vars(each) and not is_dataclass(each):
            attributes |= set(
                re.findall(r"^ +self\.([a-z]\w*)(?:: .+)? = ", inspect.getsource(each.__init__), re.MULTILINE)
            )
    assert described == attributes


@each_of(CALLED, FIXTURES)
def test_what_it_returns_is_described(documented: Documented) -> None:
    title = "Yields" if inspect.isgeneratorfunction(documented.thing) else "Returns"
    returns = inspect.signature(documented.thing).return_annotation
    assert returns is not inspect.Signature.empty
    assert bool(documented.section(title)) == (returns != "None")


@each_of(MADE, CALLED)
def test_what_it_raises_is_described_and_exists(documented: Documented) -> None:
    raised = documented.described("Raises")
    assert bool(raised) == (documented.name not in RAISES_NOTHING)
    known = {**vars(builtins), **vars(cstar.errors), "sqlite3.Error": sqlite3.Error}
    assert [name for name in raised if not issubclass(known.get(name, object), Exception)] == []


@each_of(MADE, CALLED, FIXTURES)
def test_it_has_an_example_in_python(documented: Documented) -> None:
    example = re.fullmatch(r"```python\n(.+)\n```\n*", documented.section("Example"), re.DOTALL)
    assert (example is None) == (documented.name in NOT_CALLED_BY_USERS)
    if example is not None:
        compile(example[1], documented.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@each_of([each for each in CALLED if about_the_api(each)])
def test_it_says_where_the_rule_comes_from(documented: Documented) -> None:
    assert re.search(r'API pages? "\w[^"]*"|RFC \d+', re.sub(r"\s+", " ", documented.text))


@pytest.mark.parametrize("client", [Cstar, AsyncCstar])
def test_a_default_that_the_signature_shows_as_a_name_is_said_in_words(client: type) -> None:
    args = re.sub(r"\s+", " ", Documented(client.__name__, client).section("Args"))
    for parameter in inspect.signature(client).parameters.values():
        if isinstance(parameter.default, (int, float, str)):
            shown = f'`"{parameter.default}"`' if isinstance(parameter.default, str) else f"{parameter.default:g}"
            assert re.search(rf"\b{parameter.name}: (?:(?! \w+: ).)+ By default {re.escape(shown)}\.", args)


@pytest.mark.parametrize(
    ("left_out", "there_are"),
    [
        (NOT_MADE_BY_USERS, CLASSES),
        (NOT_CALLED_BY_USERS, CALLED),
        (RAISES_NOTHING, CALLED),
        (SAYS_NOTHING_OF_THE_API, CALLED),
    ],
)
def test_nothing_is_left_out_that_is_gone(left_out: dict[str, str], there_are: list[Documented]) -> None:
    assert set(left_out) <= {each.name for each in there_are}
