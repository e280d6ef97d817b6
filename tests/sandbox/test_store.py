"""The store by itself: what its lists find, whatever was written before and however it ended."""

import dataclasses
import sqlite3
import uuid
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstar.sandbox._index import Index, entry
from cstar.sandbox._seed import seed
from cstar.sandbox._store import Customer, Remembered, Store, Ticket
from cstar.sandbox._validation import SENTIMENTS, STATUSES, ListQuery

# Few letters, so that needles are found: a letter that folds to two, one beyond ASCII, and what SQL has meanings for.
LETTERS = "aAbßéÉ%_\n\0"
TAGS = ["a", "A", "ab", ""]


@pytest.fixture
def store():
    with closing(Store(":memory:")) as store:
        yield store


def customer(created, **fields):
    fields = {"name": f"Customer {created}", "email": f"{created}@example.com", **fields}
    return Customer(uuid.uuid4(), created, created, **fields)


def everyone(store):
    customers, total = store.customers(ListQuery(page_size=100))
    assert total == len(customers)
    return customers


class RollBackError(Exception):
    pass


@st.composite
def changes(draw):
    """One change, as a function of a store and of the model: customers by their `created`."""
    kind = draw(st.sampled_from(["put", "put", "put", "put", "remove", "clear"]))
    created = draw(st.integers(0, 12))
    fields = {
        "name": draw(st.text(LETTERS, min_size=1, max_size=4)),
        "email": f"{draw(st.text('aAbé', max_size=3))}{created}@example.com",
        "sentiment": draw(st.sampled_from(SENTIMENTS)),
        "status": draw(st.sampled_from(STATUSES)),
        "tags": draw(st.lists(st.sampled_from(TAGS), max_size=3)),
    }

    def change(store, model):
        before = model.get(created)
        if kind == "clear":
            store.clear()
            model.clear()
        elif kind == "remove":
            if before is not None:
                store.remove(model.pop(created))
        else:
            after = model[created] = dataclasses.replace(before or customer(created), **fields)
            if before is None:
                store.add(after)
            else:
                store.replace(after)

    return change


transactions = st.lists(st.tuples(st.lists(changes(), min_size=1, max_size=6), st.booleans(), st.integers(0, 1)))
queries = st.builds(
    ListQuery,
    page=st.integers(1, 4),
    page_size=st.sampled_from([1, 2, 3, 100]),
    status=st.none() | st.sampled_from(STATUSES),
    sentiment=st.none() | st.sampled_from(SENTIMENTS),
    search=st.none() | st.text(LETTERS + "1@sm", max_size=2),
    tag=st.none() | st.sampled_from([*TAGS, "nobody"]),
)


def expected(model, query):
    def is_wanted(customer):
        return (
            query.status in (None, customer.status)
            and query.sentiment in (None, customer.sentiment)
            and (query.tag is None or query.tag in customer.tags)
            and (
                query.search is None
                or query.search.casefold() in customer.name.casefold()
                or query.search.casefold() in customer.email.casefold()
            )
        )

    found = [model[created] for created in sorted(model, reverse=True) if is_wanted(model[created])]
    start = (query.page - 1) * query.page_size
    return found[start : start + query.page_size], len(found)


@pytest.fixture(scope="module")
def two_stores(tmp_path_factory):
    """Two on one file, as two processes have them."""
    database = tmp_path_factory.mktemp("two") / "cstar.db"
    with closing(Store(database)) as one, closing(Store(database)) as other:
        for store in (one, other):
            store._db.execute("PRAGMA synchronous = OFF")  # for speed: nothing here is about the disk
        yield one, other


@settings(deadline=None, max_examples=80)
@given(transactions, st.lists(queries, min_size=1, max_size=6))
def test_lists_are_what_was_committed_whoever_wrote_it_and_nothing_that_was_rolled_back(
    two_stores, transactions, queries
):
    with two_stores[0].transaction(writing=True):
        two_stores[0].clear()
    model = {}
    for changes, succeeds, writer in transactions:
        changed = dict(model)
        with suppress(RollBackError), two_stores[writer].transaction(writing=True):
            for change in changes:
                change(two_stores[writer], changed)
            if not succeeds:
                raise RollBackError
            model = changed
        for query in queries:
            for store in two_stores:
                with store.transaction(writing=False):
                    assert store.customers(query) == expected(model, query)


@pytest.mark.parametrize("needle", ["straße", "STRASSE", "traSSe x", "Example.COM"])
def test_search_folds_letters_as_unicode_does(store, needle):
    with store.transaction(writing=True):
        store.add(customer(1, name="Straße X"))
    assert store.customers(ListQuery(search=needle))[1] == 1


@pytest.mark.parametrize(
    "needle", ["comname", "com name", "namemail", "name mail", "com\nname", "com\0name", "name\0mail"]
)
def test_search_does_not_span_name_and_email(store, needle):
    with store.transaction(writing=True):
        store.add(customer(1, name="name", email="mail@example.com"))
    assert store.customers(ListQuery(search=needle)) == ([], 0)


def test_after_a_write_of_another_process_customers_are_read_once_and_not_for_every_list(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as store, closing(Store(tmp_path / "cstar.db")) as other:
        seed(other, 3)
        assert len(everyone(store)) == 3
        asked = []
        store._db.set_trace_callback(asked.append)
        assert len(everyone(store)) == 3
        assert not [statement for statement in asked if "IN (" not in statement and "PRAGMA" not in statement]


def test_a_list_within_a_transaction_shows_what_it_wrote(store):
    seed(store, 3)
    with store.transaction(writing=True):
        store.remove(everyone(store)[0])
        store.add(customer(1))
        assert [found.name for found in everyone(store)][2:] == ["Customer 1"]


def test_a_commit_that_fails_leaves_lists_as_they_were(store):
    def write_for_a_customer_that_does_not_exist():
        with store.transaction(writing=True):
            store.add(customer(2))
            store._db.execute("PRAGMA defer_foreign_keys = ON")  # so that it is the commit that fails
            store.add_tickets(customer(3), [Ticket("tkt_3", "Whose?", "open", 3)])

    with store.transaction(writing=True):
        store.add(customer(1))
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        write_for_a_customer_that_does_not_exist()
    assert [found.created for found in everyone(store)] == [1]


@given(st.sets(st.integers(0, 30)), st.integers(0, 31))
def test_the_free_instant_is_the_first_at_which_nobody_was_created(taken, at):
    index = Index(entry(created, "", "", "neutral", "active", ()) for created in sorted(taken))
    assert index.free_instant(at) == min(set(range(at, 64)) - taken)


def test_finding_a_free_instant_asks_once_however_many_were_created_at_one_reading_of_the_clock(store):
    with store.transaction(writing=True):
        for _ in range(300):
            store.add(customer(store.free_instant(1000)))
        asked = []
        store._db.set_trace_callback(asked.append)
        assert store.free_instant(1000) == 1300
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 1


def test_an_instant_that_another_process_has_used_meanwhile_is_not_free(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as one, closing(Store(tmp_path / "cstar.db")) as other:
        for store in (one, other, one):
            with store.transaction(writing=True):
                store.add(customer(store.free_instant(1000)))
        assert [found.created for found in everyone(other)] == [1002, 1001, 1000]


@pytest.fixture
def filled(store):
    """A store with demo customers and a remembered answer."""
    seed(store, 20)
    with store.transaction(writing=True):
        store.remember("sk", "key", Remembered("print", 201, b"{}", "req_1"), at=5)
    return store


def test_clear_removes_customers_tickets_and_memories_and_keeps_the_identity(filled):
    identity = filled.identity
    with filled.transaction(writing=True):
        filled.clear()
    assert everyone(filled) == []
    assert filled.recall("sk", "key", since=0) is None
    assert filled._db.execute("SELECT count(*) FROM tickets").fetchone()[0] == 0
    assert filled.seeded == 0
    assert filled.identity == filled._identity() == identity


def test_after_a_clear_the_same_demo_customers_can_be_put_in_again(filled):
    before = everyone(filled)
    with filled.transaction(writing=True):
        filled.clear()
    seed(filled, 20)
    assert everyone(filled) == before


def test_a_clear_that_is_rolled_back_clears_nothing(filled):
    before = everyone(filled)
    with suppress(RollBackError), filled.transaction(writing=True):
        filled.clear()
        raise RollBackError
    assert everyone(filled) == before
    assert filled.recall("sk", "key", since=0) is not None
    assert filled.seeded == 20


def test_answers_are_forgotten_once_they_are_too_old(store):
    with store.transaction(writing=True):
        for at in (3, 1, 2):
            store.remember("sk", f"key {at}", Remembered("print", 201, b"{}", "req_1"), at=at)
        store.forget(before=3)
    assert [store.recall("sk", f"key {at}", since=0) is None for at in (1, 2, 3)] == [True, True, False]


def test_a_busy_day_is_forgotten_little_by_little_the_oldest_answers_first(store):
    def still_known():
        return [at for at in range(250) if store.recall("sk", f"key {at}", since=0)]

    with store.transaction(writing=True):
        for at in range(250):
            store.remember("sk", f"key {at}", Remembered("print", 201, b"{}", "req_1"), at=at)
        for left in (range(100, 250), range(200, 250), range(240, 250), range(240, 250)):
            store.forget(before=240)
            assert still_known() == list(left)


def test_a_database_of_an_older_version_is_refused(tmp_path):
    with closing(Store(tmp_path / "cstar.db")):
        pass
    with closing(sqlite3.connect(tmp_path / "cstar.db")) as older:
        older.execute("PRAGMA user_version = 1")
    with pytest.raises(ValueError, match="not a database of this version"):
        Store(tmp_path / "cstar.db")


def test_a_store_with_all_its_demo_customers_opens_while_another_process_is_writing(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as writer:
        seed(writer, 3)
        with writer.transaction(writing=True), closing(Store(tmp_path / "cstar.db")) as store:
            seed(store, 3)
            assert len(everyone(store)) == 3
