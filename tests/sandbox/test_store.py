"""The store: lists compared with a model, transactions, demo customers and database files."""

import sqlite3
from contextlib import closing, suppress
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstar.sandbox import _clock
from cstar.sandbox._models import Customer, Sentiment, Status, Ticket
from cstar.sandbox._seed import seed
from cstar.sandbox._store import IdempotencyRecord, Store

# Few letters, so that searches match: a letter that folds to two, one beyond ASCII, and special characters of SQL.
LETTERS = "aAbßéÉ%_\n\0"
TAGS = ["a", "A", "ab", "", '","', "é%"]


@pytest.fixture
def store():
    with closing(Store(":memory:")) as store:
        yield store


def customer(created, **fields):
    moment = _clock.moment(created)
    fields = {"name": f"Customer {created}", "email": f"{created}@example.com", **fields}
    return Customer(id=f"cus_{created:032x}", created_at=moment, updated_at=moment, **fields)


def all_customers(store):
    customers, total = store.customers({}, page_size=100)
    assert total == len(customers)
    return customers


class RollBackError(Exception):
    pass


@st.composite
def changes(draw):
    """One change, as a function of a store and of the model, which maps creation times to customers."""
    kind = draw(st.sampled_from(["put", "put", "put", "put", "remove", "clear"]))
    created = draw(st.integers(0, 12))
    fields = {
        "name": draw(st.text(LETTERS, min_size=1, max_size=4)) + "x",
        "email": f"{draw(st.text('aAbé', max_size=3))}{created}@example.com",
        "sentiment": draw(st.sampled_from(get_args(Sentiment))),
        "status": draw(st.sampled_from(get_args(Status))),
        "tags": draw(st.lists(st.sampled_from(TAGS), max_size=3)),
    }

    def change(store, model):
        if kind == "clear":
            store.clear()
            model.clear()
        elif kind == "put":
            model[created] = customer(created, **fields)
            store.put(model[created])
        elif created in model:
            store.remove(model.pop(created))

    return change


transactions = st.lists(st.tuples(st.lists(changes(), min_size=1, max_size=6), st.booleans()))
queries = st.tuples(
    st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(get_args(Status)),
            "sentiment": st.sampled_from(get_args(Sentiment)),
            "search": st.text(LETTERS + "1@sm", max_size=2),
            "tag": st.sampled_from([*TAGS, "nobody"]),
        },
    ),
    st.fixed_dictionaries({"page": st.integers(1, 4), "page_size": st.sampled_from([1, 2, 3, 100])}),
)


def expected(model, filters, page, page_size):
    def matches(customer):
        needle = filters.get("search", "").casefold()
        return (
            filters.get("status", customer.status) == customer.status
            and filters.get("sentiment", customer.sentiment) == customer.sentiment
            and ("tag" not in filters or filters["tag"] in customer.tags)
            and (needle in customer.name.casefold() or needle in customer.email.casefold())
        )

    found = [model[created] for created in sorted(model, reverse=True) if matches(model[created])]
    start = (page - 1) * page_size
    return found[start : start + page_size], len(found)


@settings(max_examples=60)
@given(transactions, st.lists(queries, min_size=1, max_size=12))
def test_lists_reflect_committed_changes_and_ignore_rolled_back_ones(transactions, queries):
    with closing(Store(":memory:")) as store:
        model = {}
        for changes, succeeds in transactions:
            changed = dict(model)
            with suppress(RollBackError), store.transaction():
                for change in changes:
                    change(store, changed)
                if not succeeds:
                    raise RollBackError
                model = changed
            for filters, bounds in queries:
                assert store.customers(filters, **bounds) == expected(model, filters, **bounds)


@pytest.mark.parametrize("needle", ["straße", "STRASSE", "traSSe x", "Example.COM"])
def test_search_folds_case_as_unicode_does(store, needle):
    store.put(customer(1, name="Straße X"))
    assert store.customers({"search": needle}, page_size=20)[1] == 1


@pytest.mark.parametrize("needle", ["comname", "com name", "com\nname", "comAname", "comaname", "nameAmail"])
def test_search_does_not_span_name_and_email(store, needle):
    store.put(customer(1, name="name", email="mail@example.com"))
    assert store.customers({"search": needle}, page_size=20) == ([], 0)


def test_a_write_to_a_full_disk_fails_and_changes_nothing(store):
    def write():
        with store.transaction():
            for created in range(1000):
                store.put(customer(created))

    seed(store, 3)
    before = all_customers(store)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
        write()
    assert all_customers(store) == before
    with store.transaction():
        store.remove(before[0])
    assert all_customers(store) == before[1:]


@given(st.sets(st.integers(0, 30)), st.integers(0, 31))
def test_a_free_instant_is_the_given_one_or_the_next_after_the_newest(taken, at):
    with closing(Store(":memory:")) as store:
        for created in taken:
            store.put(customer(created))
        assert store.free_instant(at) == (max(taken) + 1 if at in taken else at)


def test_a_clear_keeps_the_credentials_and_allows_demo_customers_again(store):
    seed(store, 20)
    before, credentials = all_customers(store), store.credentials
    with store.transaction():
        store.add_idempotency_record("sk", "key", IdempotencyRecord("print", 201, "text/plain", b"{}", "req_1"), at=5)
        store.clear()
    assert all_customers(store) == []
    assert store.idempotency_record("sk", "key") is None
    assert store._db.execute("SELECT count(*) FROM tickets").fetchone()[0] == 0
    seed(store, 20)
    assert (all_customers(store), store.credentials) == (before, credentials)


def test_more_demo_customers_are_added_to_existing_ones(store):
    seed(store, 20)
    seed(store, 40)
    seed(store, 30)
    with closing(Store(":memory:")) as other:
        seed(other, 40)
        customers = all_customers(other)
    assert all_customers(store) == customers
    assert all(" " in customer.name and customer.email.isascii() for customer in customers)
    assert len({customer.sentiment for customer in customers}) > 2


def test_a_demo_customer_with_an_existing_email_is_omitted(store):
    with closing(Store(":memory:")) as other:
        seed(other, 3)
        demos = all_customers(other)
    mine = customer(1, email=demos[1].email.upper())
    store.put(mine)
    seed(store, 3)
    assert all_customers(store) == [demos[0], demos[2], mine]
    assert store.seeded == 3


def test_a_demo_customer_does_not_replace_one_created_at_the_same_time(store):
    seed(store, 1)
    [demo] = all_customers(store)
    store.clear()
    mine = demo.model_copy(update={"id": f"cus_{1:032x}", "email": "mine@example.com"})
    store.put(mine)
    seed(store, 2)
    assert len(all_customers(store)) == 3
    assert mine in all_customers(store)


def test_tickets_of_the_same_instant_are_in_the_order_of_their_ids(store):
    store.put(customer(1))
    tickets = [
        Ticket(id=name, title="Why?", status="open", created_at=_clock.moment(at))
        for name, at in (("b", 5), ("c", 5), ("a", 5), ("z", 6), ("d", 4))
    ]
    store.add_tickets(customer(1), tickets)
    assert [ticket.id for ticket in store.recent_tickets(customer(1), 4)] == ["z", "a", "b", "c"]
    assert all_customers(store)[0].ticket_count == 5


def test_every_commit_is_synced_to_disk(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as store:
        pragmas = {
            name: store._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode", "foreign_keys")
        }
    assert pragmas == {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}


def test_a_second_store_for_a_file_is_an_error(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as store:
        seed(store, 3)
        with pytest.raises(sqlite3.OperationalError, match="cannot be opened: another process is using it;"):
            Store(tmp_path / "cstar.db")
        assert len(all_customers(store)) == 3


@pytest.mark.parametrize("change", ["user_version = 2", "application_id = 0"], ids=["older version", "other program"])
def test_a_database_of_another_version_or_program_is_rejected_and_not_changed(tmp_path, change):
    database = tmp_path / "cstar.db"
    with closing(Store(database)):
        pass
    with closing(sqlite3.connect(database)) as other:
        other.execute(f"PRAGMA {change}")
    before = database.read_bytes()
    with pytest.raises(ValueError, match="not a database of this version of the cStar sandbox; move it away") as raised:
        Store(database)
    assert repr(str(database)) in str(raised.value)
    assert database.read_bytes() == before


def test_the_error_names_a_file_that_is_not_a_database_and_does_not_change_it(tmp_path):
    notes, text = tmp_path / "notes.txt", "Longer than the header of a database.\n" * 50
    notes.write_text(text)
    with pytest.raises(sqlite3.DatabaseError, match="file is not a database") as raised:
        Store(notes)
    assert repr(str(notes)) in str(raised.value)
    assert notes.read_text() == text
