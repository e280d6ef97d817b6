"""The store by itself: what its lists find, whatever was written before and however it ended."""

import dataclasses
import sqlite3
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, nullcontext, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstar.sandbox import _seed
from cstar.sandbox._index import Entry, Index
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
@given(transactions, st.lists(queries, min_size=1, max_size=12))
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
                assert two_stores[writer].customers(queries[0]) == expected(changed, queries[0])
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
    "needle",
    ["comname", "com name", "namemail", "name mail", "com\nname", "com\0name", "comAname", "comaname", "nameAmail"],
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


def test_a_write_for_which_the_disk_is_full_says_so_and_leaves_lists_as_they_were(store):
    def write():
        with store.transaction(writing=True):
            for created in range(1000):
                store.add(customer(created))

    seed(store, 3)
    before = everyone(store)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
        write()
    assert everyone(store) == before
    with store.transaction(writing=True):
        store.remove(before[0])
    assert everyone(store) == before[1:]


class Text(str):
    """Counts how often it is searched."""

    __slots__ = ("searched",)

    def __init__(self, _text):
        self.searched = 0

    def __contains__(self, needle):
        self.searched += 1
        return super().__contains__(needle)


def index_of(*texts):
    return Index(Entry(created, text, "neutral", "active", ()) for created, text in enumerate(texts))


def test_each_customer_is_searched_once_for_all_the_pages_of_a_list():
    texts = [Text(f"{number}@example.com") for number in range(3)]
    index = index_of(*texts)
    pages = [index.select(ListQuery(search="example", page_size=1, page=page)) for page in (1, 2, 3, 4)]
    assert pages == [([2], 3), ([1], 3), ([0], 3), ([], 3)]
    assert [text.searched for text in texts] == [1, 1, 1]


def test_a_write_between_two_pages_has_only_the_changed_customer_searched_again():
    texts = [Text(f"{number}@example.com") for number in range(3)]
    index = index_of(*texts)
    assert index.select(ListQuery(search="example", page_size=2)) == ([2, 1], 3)
    index.put(Entry(1, "elsewhere", "neutral", "active", ()))
    index.put(Entry(3, "3@example.com", "neutral", "active", ()))
    assert index.select(ListQuery(search="example", page_size=2)) == ([3, 2], 3)
    assert [text.searched for text in texts] == [1, 1, 1]


def test_of_many_lists_the_most_recently_used_are_kept():
    text = Text("0@example.com")
    index = index_of(text)
    for number in range(50):
        index.select(ListQuery(search="example"))
        index.select(ListQuery(search=f"other {number}"))
    assert text.searched == 1 + 50
    index.select(ListQuery(search="other 0"))
    assert text.searched == 1 + 50 + 1


def test_customers_are_not_read_before_the_first_list(tmp_path, monkeypatch):
    with closing(Store(tmp_path / "cstar.db")) as store:
        seed(store, 3)
    monkeypatch.setattr("cstar.sandbox._store.entry", None)
    with closing(Store(tmp_path / "cstar.db")) as store:
        seed(store, 4)
        with store.transaction(writing=True):
            store.add(customer(store.free_instant(1)))
        monkeypatch.undo()
        assert len(everyone(store)) == 5


@given(st.sets(st.integers(0, 30)), st.integers(0, 31))
def test_the_free_instant_is_the_first_at_which_nobody_was_created(taken, at):
    with closing(Store(":memory:")) as store:
        for created in taken:
            store.add(customer(created))
        assert store.free_instant(at) == min(set(range(at, 64)) - taken)


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


def test_demo_customers_put_in_with_interruptions_are_the_same_ones(store, monkeypatch):
    def fail_at_25(number):
        if number == 25:
            raise RollBackError
        return demo(number)

    demo = _seed._demo
    monkeypatch.setattr(_seed, "_AT_A_TIME", 10)
    with monkeypatch.context() as patch, suppress(RollBackError):
        patch.setattr(_seed, "_demo", fail_at_25)
        seed(store, 40)
    assert len(everyone(store)) == store.seeded == 20
    seed(store, 40)
    with closing(Store(":memory:")) as other:
        monkeypatch.setattr(_seed, "_AT_A_TIME", 1000)
        seed(other, 40)
        assert everyone(store) == everyone(other)
        assert store.seeded == other.seeded == 40


def test_demo_customers_that_another_process_puts_in_and_deletes_meanwhile_are_not_put_in_again(tmp_path, monkeypatch):
    def meanwhile(number):
        monkeypatch.setattr(_seed, "_demo", demo)
        seed(other, 30)
        with other.transaction(writing=True):
            other.remove(everyone(other)[0])
        return demo(number)

    demo = _seed._demo
    monkeypatch.setattr(_seed, "_AT_A_TIME", 20)
    with closing(Store(tmp_path / "cstar.db")) as store, closing(Store(tmp_path / "cstar.db")) as other:
        monkeypatch.setattr(_seed, "_demo", meanwhile)
        seed(store, 50)
        assert store.seeded == 50
        assert len(everyone(store)) == 49


def test_a_demo_customer_whose_email_somebody_has_taken_is_left_out(store):
    with closing(Store(":memory:")) as other:
        seed(other, 3)
        demos = everyone(other)
    mine = customer(1, email=demos[1].email.upper())
    with store.transaction(writing=True):
        store.add(mine)
    seed(store, 3)
    assert everyone(store) == [demos[0], demos[2], mine]
    assert store.seeded == 3


def test_tickets_of_the_same_instant_are_in_the_order_of_their_ids(store):
    with store.transaction(writing=True):
        store.add(customer(1))
        tickets = [Ticket(name, "Why?", "open", at) for name, at in (("b", 5), ("c", 5), ("a", 5), ("z", 6), ("d", 4))]
        store.add_tickets(customer(1), tickets)
    assert [ticket.id for ticket in store.recent_tickets(customer(1), 4)] == ["z", "a", "b", "c"]


def test_the_same_idempotency_key_of_two_api_keys_is_two_keys(store):
    mine, theirs = (Remembered(name, 201, name.encode(), f"req_{name}") for name in ("mine", "theirs"))
    with store.transaction(writing=True):
        store.remember("sk_mine", "key", mine, at=5)
        assert store.recall("sk_theirs", "key", since=0) is None
        store.remember("sk_theirs", "key", theirs, at=5)
    assert store.recall("sk_mine", "key", since=0) == mine
    assert store.recall("sk_theirs", "key", since=0) == theirs


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


def test_every_commit_to_a_file_is_on_the_disk_and_readers_do_not_wait_for_writers(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as store:
        pragmas = {
            name: store._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode", "foreign_keys")
        }
    assert pragmas == {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}


def test_a_database_that_another_process_creates_meanwhile_is_taken_as_it_is(tmp_path, monkeypatch):
    def meanwhile(store, *, writing):
        monkeypatch.setattr(Store, "transaction", transaction)
        others.append(Store(tmp_path / "cstar.db"))
        return transaction(store, writing=writing)

    transaction, others = Store.transaction, []
    monkeypatch.setattr(Store, "transaction", meanwhile)
    with closing(Store(tmp_path / "cstar.db")) as store, closing(others[0]) as other:
        assert store.identity == other.identity
        assert store._db.execute("SELECT count(*) FROM sandbox").fetchone()[0] == 1


def test_a_database_of_an_older_version_is_refused(tmp_path):
    database = tmp_path / "cstar.db"
    with closing(Store(database)):
        pass
    with closing(sqlite3.connect(database)) as older:
        older.execute("PRAGMA user_version = 1")
    with pytest.raises(ValueError, match="not a database of this version") as raised:
        Store(database)
    assert repr(str(database)) in str(raised.value)
    assert "move it away, or name another file" in str(raised.value)


def test_a_file_that_is_no_database_is_named(tmp_path):
    database = tmp_path / "notes.txt"
    database.write_text("Buy milk, and then some more of it, because there is never enough. " * 20)
    with pytest.raises(sqlite3.DatabaseError, match="file is not a database") as raised:
        Store(database)
    assert type(raised.value) is sqlite3.DatabaseError
    assert repr(str(database)) in str(raised.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    database = tmp_path / "nowhere" / "cstar.db"
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file") as raised:
        Store(database)
    assert repr(str(database)) in str(raised.value)


def test_a_store_with_all_its_demo_customers_opens_while_another_process_is_writing(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as writer:
        seed(writer, 3)
        with writer.transaction(writing=True), closing(Store(tmp_path / "cstar.db")) as store:
            seed(store, 3)
            assert len(everyone(store)) == 3


@pytest.fixture
def read_by_another(tmp_path):
    """A database as SQLite makes it by default, and a connection of another process that is reading it."""
    database = tmp_path / "cstar.db"
    with closing(Store(database)) as store:
        store._db.execute("PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM customers").fetchall()
        yield database, other


def test_opening_a_database_waits_until_another_process_has_read_it(read_by_another, monkeypatch):
    database, other = read_by_another
    monkeypatch.setattr(Store, "patience", nullcontext)  # SQLite's own waiting
    monkeypatch.setattr(time, "sleep", lambda _: other.execute("COMMIT"))
    with closing(Store(database)) as store:
        assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_opening_a_database_that_another_process_reads_for_too_long_is_an_error(read_by_another, monkeypatch):
    monkeypatch.setattr("cstar.sandbox._store._PATIENTLY", 0.05)
    with pytest.raises(sqlite3.OperationalError, match=r"cstar\.db' cannot be opened: database is locked\.$"):
        Store(read_by_another[0])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_opening_a_database_that_cannot_be_written_to_says_why_at_once(tmp_path):
    import resource

    database = tmp_path / "cstar.db"
    with closing(Store(database)) as store:
        store._db.execute("PRAGMA journal_mode = DELETE")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    started = time.monotonic()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(sqlite3.OperationalError, match=r"cstar\.db' cannot be opened: disk I/O error\.$"):
            Store(database)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert time.monotonic() - started < 10


@contextmanager
def locked(database):
    """Another process that is writing to a database."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_whether_it_can_write_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("cstar.sandbox._store._BRIEFLY", 30)
    with closing(Store(tmp_path / "cstar.db")) as store:
        started = time.monotonic()
        assert store.can_write()
        with locked(tmp_path / "cstar.db"):
            assert not store.can_write()
        assert store.can_write()
        assert time.monotonic() - started < 10


def test_having_asked_whether_it_can_write_holds_nobody_up(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as store, closing(Store(tmp_path / "cstar.db")) as other:
        assert store.can_write()
        assert other.can_write()
        with store.transaction(writing=True):
            store.add(customer(1))
        assert [found.created for found in everyone(other)] == [1]


def test_while_another_process_is_writing_lists_are_answered_and_a_write_soon_gives_up(tmp_path):
    def write():
        with store.transaction(writing=True):
            raise AssertionError

    with closing(Store(tmp_path / "cstar.db")) as store:
        seed(store, 3)
        with locked(tmp_path / "cstar.db"):
            started = time.monotonic()
            for _ in range(2):
                with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                    write()
                assert not store.can_write()  # and has not made it wait longer
                with store.transaction(writing=False):
                    assert len(everyone(store)) == 3
            assert time.monotonic() - started < 10


def test_demo_customers_wait_for_another_process_that_is_writing(tmp_path):
    with closing(Store(tmp_path / "cstar.db")) as store, ThreadPoolExecutor(1) as threads:
        with locked(tmp_path / "cstar.db"):
            seeding = threads.submit(seed, store, 3)
            assert not wait([seeding], timeout=0.2).done  # longer than any other write would wait
        seeding.result()
        assert len(everyone(store)) == 3
