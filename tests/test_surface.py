"""The public interface, the same for both clients, and the imports between modules."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
import typing
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import httpx
import pydantic
import pytest

import cstar
from cstar import AsyncCstar, AsyncPage, AsyncRowIterator, Cstar, Page, RowIterator, webhooks
from cstar.resources import _customer_calls
from cstar.resources.customers import Customers
from support import KEY

# ── The twins ────────────────────────────────────────────────────────────────────────────────────────────────────────


def resources(client: object) -> dict[str, Any]:
    """Find the resources of a client, so that these tests cover a new one, too."""
    names = [name for name, member in vars(type(client)).items() if isinstance(member, cached_property)]
    return {name: getattr(client, name) for name in names}


CLIENTS = Cstar(KEY), AsyncCstar(KEY)
TWINS: list[tuple[type, type]] = [
    (Cstar, AsyncCstar),
    (Page, AsyncPage),
    (RowIterator, AsyncRowIterator),
    (type(CLIENTS[0].with_raw_response), type(CLIENTS[1].with_raw_response)),
]
for name, resource in resources(CLIENTS[0]).items():
    if twin := resources(CLIENTS[1]).get(name):  # without a twin, test_both_clients_have_the_same_resources fails
        TWINS += [(type(resource), type(twin)), (type(resource.with_raw_response), type(twin.with_raw_response))]

RENAMED = {
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "__iter__": "__aiter__",
    "__next__": "__anext__",
}
RENAMED_IN = {RowIterator: {"close": "aclose"}}


def public(cls: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in inspect.getmembers(cls)
        if (not name.startswith("_") or name in {*RENAMED, *RENAMED.values(), "__init__"})
        and (callable(member) or isinstance(member, property))
    }


def parameters(method: Any) -> list[tuple[str, Any, Any, str]]:
    signature = inspect.signature(method.fget if isinstance(method, property) else method)
    return [
        (each.name, each.kind, each.default, str(each.annotation).replace("Async", ""))
        for each in signature.parameters.values()
    ]


def without_async(text: str | None) -> str:
    """Return a docstring without line breaks, and without the words that only an async twin has, such as `await`."""
    words = re.sub(r"\(?\bawait ([^)\n]*\))\)?", r"\1", text or "")
    words = re.sub(r"\ba(?=(?:iter|next|close)\()", "", words)
    return re.sub(r"\s+", " ", re.sub(r"\basync |Async", "", words))


@pytest.mark.parametrize(("sync", "async_"), TWINS, ids=lambda cls: cls.__name__)
def test_twins_have_the_same_methods(sync: type, async_: type) -> None:
    # AsyncCstar has both `close` and `aclose`.
    renamed = RENAMED | RENAMED_IN.get(sync, {"aclose": "close"})
    assert {renamed.get(name, name) for name in public(sync)} == {renamed.get(name, name) for name in public(async_)}


@pytest.mark.parametrize(
    ("sync", "async_", "name"),
    [
        (sync, async_, name)
        for sync, async_ in TWINS
        for name in public(sync)
        if not (sync in {Page, RowIterator} and name == "__init__")
    ],
)
def test_the_methods_of_twins_have_the_same_signature_and_docstring(sync: type, async_: type, name: str) -> None:
    method, twin = getattr(sync, name), getattr(async_, (RENAMED | RENAMED_IN.get(sync, {})).get(name, name))
    assert parameters(method) == parameters(twin)
    assert without_async(method.__doc__) == without_async(twin.__doc__)


def test_both_clients_have_the_same_resources() -> None:
    sync, async_ = (list(resources(client)) for client in CLIENTS)
    assert sync == async_ != [], "give both clients in _client.py the same methods with @_resource, in the same order"


def test_with_raw_response_has_the_same_methods_signatures_and_docstrings() -> None:
    for client in CLIENTS:
        for resource in resources(client).values():
            raw = resource.with_raw_response
            with_several_requests = {"find", "upsert", "bulk_update", "bulk_delete", "bulk_import"}
            methods = set(public(type(resource))) - {"__init__", "with_raw_response", *with_several_requests}
            assert {name for name in public(type(raw)) if name != "__init__"} == methods
            for name in methods:
                plain = getattr(resource, name)
                assert inspect.signature(getattr(raw, name)) == inspect.signature(plain)
                assert getattr(raw, name).__doc__ == plain.__doc__


# ── Names and signatures ─────────────────────────────────────────────────────────────────────────────────────────────


def test_public_signatures_do_not_change() -> None:
    def signature_of(method: Any) -> str:
        return ", ".join(
            each.name if each.default is each.empty else f"{each.name}={each.default!r}"
            for each in inspect.signature(method).parameters.values()
            if each.name != "self"
        )

    assert signature_of(Cstar.__init__) == (
        "api_key=None, base_url=None, timeout=30.0, deadline=None, max_retries=3, max_retry_wait=60.0, "
        "api_version='2026-03-01', default_headers=None, on_attempt=None, http_client=None"
    )
    assert signature_of(Customers.list) == (
        "team_id, status=None, sentiment=None, search=None, tag=None, page=1, page_size=100, prefetch=0, "
        "gapless=False, resume=None, extra_query=None"
    )
    assert signature_of(Cstar.paginate) == (
        "path, cast_to, params=None, page=1, page_size=100, prefetch=0, gapless=False, resume=None"
    )
    assert signature_of(Customers.create) == (
        "team_id, name, email, sentiment=None, status=None, tags=None, notes=None, custom_fields=None, metadata=None, "
        "extra_body=None, idempotency_key=None"
    )
    assert signature_of(Customers.get) == "team_id, customer_id, expand=None, extra_query=None"
    assert signature_of(Customers.update) == (
        "team_id, customer_id, name=NOT_GIVEN, email=NOT_GIVEN, sentiment=NOT_GIVEN, status=NOT_GIVEN, tags=NOT_GIVEN, "
        "notes=NOT_GIVEN, custom_fields=NOT_GIVEN, metadata=NOT_GIVEN, extra_body=None, idempotency_key=None"
    )
    assert signature_of(Customers.find) == "team_id, email"
    assert signature_of(Customers.delete) == "team_id, customer_id, idempotency_key=None"
    assert signature_of(Customers.upsert) == (
        "team_id, email, name, sentiment=None, status=None, tags=None, notes=None, custom_fields=None, metadata=None, "
        "extra_body=None, idempotency_key=None"
    )
    assert signature_of(Customers.bulk_update) == (
        "team_id, ids, name=NOT_GIVEN, email=NOT_GIVEN, sentiment=NOT_GIVEN, status=NOT_GIVEN, tags=NOT_GIVEN, "
        "notes=NOT_GIVEN, custom_fields=NOT_GIVEN, metadata=NOT_GIVEN, extra_body=None, idempotency_key=None"
    )
    assert signature_of(Customers.bulk_delete) == "team_id, ids, idempotency_key=None"
    assert signature_of(Customers.bulk_import) == "team_id, records, merge_strategy='skip', idempotency_key=None"
    assert signature_of(Customers.export) == "team_id, status=None, sentiment=None, search=None, tag=None"
    assert signature_of(Cstar.with_options) == (
        "timeout=NOT_GIVEN, deadline=NOT_GIVEN, max_retries=NOT_GIVEN, max_retry_wait=NOT_GIVEN, "
        "default_headers=NOT_GIVEN"
    )
    assert signature_of(Cstar.request) == "method, path, params=None, json=None, cast_to=None, idempotency_key=None"


def test_all_lists_every_public_name_once() -> None:
    values = {name: getattr(cstar, name) for name in dir(cstar) if not name.startswith("_")}
    public_names = {name for name, value in values.items() if not inspect.ismodule(value)}
    assert public_names - {"TYPE_CHECKING", "annotations"} | {"__version__"} == set(cstar.__all__)
    assert sorted(cstar.__all__) == sorted(set(cstar.__all__))


@pytest.mark.parametrize("module", [cstar, cstar.models], ids=lambda module: module.__name__)
@pytest.mark.parametrize("name", ["Invoice", "_Customer"])
def test_an_unknown_name_raises_the_usual_attribute_error(module: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"^module '{module.__name__}' has no attribute '{name}'$"):
        getattr(module, name)


@pytest.mark.parametrize("module", [cstar, cstar.models], ids=lambda module: module.__name__)
def test_dir_lists_a_model_before_it_is_loaded(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(module), "Customer", raising=False)
    assert "Customer" in dir(module)


def test_all_of_webhooks_lists_every_public_name() -> None:
    defined = {name for name, value in vars(webhooks).items() if getattr(value, "__module__", "") == "cstar.webhooks"}
    assert {name for name in defined if not name.startswith("_")} | {"WebhookEvent"} == set(webhooks.__all__)


def test_the_fields_of_a_customer_are_the_same_in_all_places() -> None:
    fields = set(_customer_calls._CHECKS)
    assert fields == set(_customer_calls._Fields.__annotations__) == set(cstar.CustomerRecord.__annotations__)
    other_parameters = {"self", "team_id", "customer_id", "ids", "extra_body", "idempotency_key"}
    for method in (Customers.create, Customers.update, Customers.upsert, Customers.bulk_update):
        assert set(inspect.signature(method).parameters) - other_parameters == fields
    assert set(cstar.Customer.model_fields) == set(webhooks.WebhookCustomer.model_fields) > fields


def test_not_given_is_a_falsy_singleton() -> None:
    assert not cstar.NOT_GIVEN
    assert repr(cstar.NOT_GIVEN) == "NOT_GIVEN"
    assert pickle.loads(pickle.dumps(cstar.NOT_GIVEN)) is copy.deepcopy(cstar.NOT_GIVEN) is cstar.NOT_GIVEN


# ── Modules ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# In the order of the table in CONTRIBUTING.md: a module imports only from modules before it.
MODULES = [
    "_version", "_types", "errors", "models", "_logging", "_options", "_check", "_envelopes", "_lenient", "_decode",
    "webhooks", "_call", "_body", "_budget", "_response", "_bulk", "_call_state", "_retry", "_aiohttp", "_failures",
    "_route", "_exchange", "_event_loop", "_tls", "_network", "_connections", "_http_clients", "_request", "_transport",
    "_checkpoint", "_memory", "_ending", "_movement", "_walk", "_listing", "_prefetch", "_pagination", "resources",
    "_client", "sandbox",
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES[:-1])  # tests/sandbox/test_isolation.py checks the sandbox
def test_a_module_imports_only_from_modules_before_it(module: str) -> None:
    source = Path(cstar.__file__).parent
    files = sorted((source / module).glob("**/*.py")) or [source / f"{module}.py"]
    importable = {*MODULES[: MODULES.index(module)], module}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "cstar":
                imported = (node.module or "").split(".")[1:] or [alias.name for alias in node.names]
                if (module, imported[0]) != ("errors", "models"):  # for the type of `partial`
                    assert imported[0] in importable, f"{file.name} imports {imported[0]}"


def test_every_module_has_a_place_in_the_order() -> None:
    paths = Path(cstar.__file__).parent.iterdir()
    modules = {path.stem for path in paths if path.suffix == ".py" or path.is_dir()}
    modules -= {"__init__", "__pycache__"}
    assert modules == set(MODULES), "change MODULES in this file, and the table in CONTRIBUTING.md"


def test_the_table_in_contributing_has_every_module_in_this_order() -> None:
    page = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.partition("| edit in `src/cstar/` |\n")[2].partition("\n\n")[0]
    names = re.findall(r"`(\w+)(?:\.py|/)", table)
    assert [*dict.fromkeys(names), "sandbox"] == MODULES


# ── Type hints, pydantic and mocks ───────────────────────────────────────────────────────────────────────────────────

PUBLIC_CLASSES = sorted({cls for pair in TWINS for cls in pair} | {cstar.AsyncPaginator, cstar.RawResponse}, key=str)


def methods(cls: type) -> list[tuple[str, Any]]:
    functions = {name: member.func for name, member in vars(cls).items() if isinstance(member, cached_property)}
    for name, member in public(cls).items():
        functions[name] = member.fget if isinstance(member, property) else member
    return [(name, method) for name, method in functions.items() if inspect.isfunction(method)]


@pytest.mark.parametrize(("cls", "name", "method"), [(cls, *each) for cls in PUBLIC_CLASSES for each in methods(cls)])
def test_the_type_hints_of_public_methods_resolve_at_run_time(cls: type, name: str, method: Any) -> None:
    typing.get_type_hints(method)


def test_the_type_hints_of_attempts_rate_limits_and_errors_resolve_at_run_time() -> None:
    for each in (cstar.Attempt, cstar.RateLimit, cstar.APIStatusError.__init__, cstar.APIConnectionError.__init__):
        typing.get_type_hints(each)


@pytest.mark.parametrize(
    ("cls", "name", "method"),
    [(cls, *each) for cls in PUBLIC_CLASSES for each in methods(cls) if each[0] != "__init__"],
)
def test_pydantic_can_validate_every_public_method(cls: type, name: str, method: Any) -> None:
    pydantic.validate_call(method)


def test_pydantic_validates_the_arguments_of_a_call() -> None:
    get = pydantic.validate_call(CLIENTS[0].customers.get)
    with pytest.raises(pydantic.ValidationError, match="should be a valid string"):
        get("t", 7)
    with pytest.raises(pydantic.ValidationError, match="timeout"):
        pydantic.validate_call(CLIENTS[0].with_options)(timeout="soon")
    with_timeout = pydantic.validate_call(CLIENTS[0].with_options)(timeout=httpx.Timeout(5))
    assert with_timeout._transport.options.timeout == httpx.Timeout(5)


@pytest.mark.parametrize("build", [Cstar, AsyncCstar])
def test_a_mock_of_a_client_has_its_attributes(build: type) -> None:
    for mock in (Mock(spec=build), create_autospec(build, instance=True)):
        for name in ("customers", "with_raw_response", "rate_limit", "whoami", "request", "with_options", "close"):
            assert getattr(mock, name) is not None
        with pytest.raises(AttributeError):
            mock.custommers  # noqa: B018


@pytest.mark.parametrize("build", [Cstar, AsyncCstar])
def test_an_autospec_mock_of_a_client_checks_the_calls_of_its_resources(build: type) -> None:
    mock = create_autospec(build, instance=True)
    mock.customers.get.return_value = "Jane"
    call = mock.customers.get("t", "cus_1")
    assert inspect.isawaitable(call) == (build is AsyncCstar)
    if inspect.isawaitable(call):
        call.close()
    with pytest.raises(TypeError):
        mock.customers.get("t", customer="cus_1")


def test_a_method_of_a_resource_can_be_replaced_by_a_mock() -> None:
    client = Cstar(KEY)
    client.customers.get = Mock(return_value="Jane")  # type: ignore[method-assign]
    assert client.customers.get("t", "cus_1") == "Jane"
