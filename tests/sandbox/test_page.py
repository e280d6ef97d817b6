"""The page at the sandbox's root, as it is without scripts; `tests/browser` looks at it in a browser."""

import base64
import hashlib
import re
import uuid
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser

import httpx
import pytest

from cstar.sandbox import Delivery, DeliveryAttempt, Fault, ReceivedRequest, Sandbox
from cstar.sandbox._page import State, element, render
from cstar.sandbox._store import Customer

TEAM = "11111111-2222-4333-8444-555555555555"
NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
MARKUP = """<img src=x onerror="alert(1)">'&amp;"""
VOID = {"meta", "link", "img", "rect", "path"}


class Page(HTMLParser):
    """A page taken apart: its tags, and the text inside each element that has an id."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._ids = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._ids.append(attributes.get("id"))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self._ids.pop()

    def handle_data(self, data):
        for name in filter(None, self._ids):
            self.texts[name] = self.texts.get(name, "") + data

    def rows(self, prefix):
        return [text for name, text in self.texts.items() if name.startswith(prefix)]


@pytest.fixture(scope="module")
def shared_box():
    with Sandbox(webhook_url="http://127.0.0.1:9/webhooks") as box:
        yield box


@pytest.fixture
def box(shared_box):
    shared_box.reset()
    return shared_box


@pytest.fixture
def api(box):
    with httpx.Client(
        base_url=f"{box.url}/teams/{box.team_id}", headers={"Authorization": f"Bearer {box.api_key}"}
    ) as client:
        yield client


@pytest.fixture
def browser(box):
    with httpx.Client(base_url=box.url.removesuffix("/api/v1")) as client:
        yield client


@pytest.fixture
def look(browser):
    return lambda: Page(browser.get("/").text)


def state(**changes):
    kinds = {"requests": (), "customers": (), "deliveries": (), **changes}
    counts = {"request_count": "requests", "customer_count": "customers", "delivery_count": "deliveries"}
    known = {"base_path": "/api/v1", "team_id": TEAM, "faults": ()}
    return State(**{**known, **{count: len(kinds[kind]) for count, kind in counts.items()}, **kinds})


def rendered(**changes):
    return Page(html(**changes))


def html(**changes):
    return render(state(**changes), "http://127.0.0.1:4010", version='"1"', now=NOON)


def a_request(**changes):
    values = {
        "method": "GET",
        "path": f"/api/v1/teams/{TEAM}/customers",
        "query": "",
        "headers": {"accept": "*/*"},
        "body": b"",
        "status": 200,
        "request_id": "req_1",
        "replayed": False,
        "fault": None,
        "at": NOON,
        "duration": 0.0012,
    }
    return ReceivedRequest(**{**values, **changes})


def a_customer(**changes):
    values = {"id": uuid.UUID(int=1), "created": 0, "updated": 0, "name": "Ada", "email": "ada@example.com"}
    return Customer(**{**values, **changes})


def a_delivery(**changes):
    values = {
        "id": "dlv_1",
        "event_id": "evt_1",
        "event_type": "customer.created",
        "customer_id": "cus_1",
        "url": "http://127.0.0.1:8000/webhooks",
        "webhook_id": "wh_1",
        "payload": b"{}",
    }
    return Delivery(**{**values, **changes})


def an_attempt(status=None, error=None):
    return DeliveryAttempt(NOON, "t=1,v1=2", status, error, 0.25)


def test_a_new_sandbox_says_where_it_is_and_how_to_begin(box, look):
    texts = look().texts
    assert f"export CSTAR_BASE_URL={box.url}\nexport CSTAR_TEAM_ID={box.team_id}\n" in texts["requests"]
    assert "curl $CSTAR_BASE_URL/auth/whoami" in texts["requests"]
    assert "curl $CSTAR_BASE_URL/teams/$CSTAR_TEAM_ID/customers" in texts["customers"]
    assert "--webhook-url http://" in texts["deliveries"]
    assert "faults" not in texts


def test_a_customer_is_there_once_it_was_created(api, look):
    created = api.post(
        "/customers",
        json={"name": "Ada Lovelace", "email": "ada@example.com", "sentiment": "angry", "tags": ["vip", "beta"]},
    ).json()["data"]
    page = look()
    assert page.texts[created["id"]].startswith("Ada Lovelaceada@example.comactiveangryvipbeta0")
    assert created["createdAt"].replace("Z", "+00:00") in [attributes.get("datetime") for _, attributes in page.tags]


def test_a_request_is_there_with_all_but_the_key(box, api, look):
    answer = api.post("/customers?dry=1", json={"name": "Ada"}, headers={"X-Mine": "yes"})
    (row,) = look().rows("request-")
    time = box.requests[0].at.astimezone().strftime("%H:%M:%S")
    assert row.startswith(f"{time}400POST/api/v1/teams/{box.team_id}/customers?dry=1Request ")
    assert answer.headers["X-Request-Id"] in row
    assert "x-mine: yes\n" in row
    assert "authorization: Bearer ***" in row
    assert '{\n  "name": "Ada"\n}' in row
    assert row.endswith(" ms")


def test_a_replay_is_marked(api, look):
    for _ in range(2):
        api.post("/customers", json={"name": "A", "email": "a@example.com"}, headers={"Idempotency-Key": "k"})
    second, first = look().rows("request-")
    assert ("replayed" in first, "replayed" in second) == (False, True)


def test_a_fault_is_announced_until_it_has_struck_and_marked_where_it_struck(box, api, look):
    box.faults.add("status", status=503, path="*/customers")
    assert "status 503path */customers" in look().texts["faults"]
    assert api.get("/customers").status_code == 503
    page = look()
    assert "fault: status" in page.rows("request-")[0]
    assert "faults" not in page.texts


def test_a_dropped_connection_is_marked(box, api, look):
    box.faults.add("drop")
    with pytest.raises(httpx.RemoteProtocolError):
        api.get("/customers")
    assert "droppedGET" in look().rows("request-")[0]


def test_a_delivery_is_there_with_its_url_and_payload(api, look):
    created = api.post("/customers", json={"name": "Ada", "email": "ada@example.com"}).json()["data"]
    (row,) = look().rows("dlv_")
    assert row.startswith(f"pendingcustomer.created{created['id']}http://127.0.0.1:9/webhooksDelivery dlv_")
    assert '"name": "Ada",\n' in row


@pytest.mark.parametrize(
    ("outcome", "attempts", "told"),
    [
        ("pending", [], "none yet"),
        ("pending", [an_attempt(error="connection refused")], "connection refused"),
        ("delivered", [an_attempt(status=204)], "204 No Content"),
        ("delivered", [an_attempt(status=299)], "299"),
        ("failed", [an_attempt(error="no answer"), an_attempt(500, "answered 500")], "2, last: answered 500"),
    ],
)
def test_a_delivery_tells_its_outcome_and_how_the_last_attempt_ended(outcome, attempts, told):
    row = rendered(deliveries=[a_delivery(outcome=outcome, attempts=tuple(attempts))]).texts["dlv_1"]
    assert row.startswith(outcome)
    assert row.endswith(told)


def test_every_attempt_of_a_delivery_is_listed_with_its_time():
    attempts = (an_attempt(503, "answered 503"), an_attempt(status=200))
    row = rendered(deliveries=[a_delivery(attempts=attempts)]).texts["dlv_1"]
    at = NOON.astimezone().strftime("%H:%M:%S")
    assert f"{at} answered 503, 250 ms\n{at} 200 OK, 250 ms" in row


def test_the_newest_come_first_and_what_is_left_out_is_counted(api, look):
    ids = [
        api.post("/customers", json={"name": "A", "email": f"{n}@example.com"}).json()["data"]["id"] for n in range(26)
    ]
    for number in range(26):
        api.get(f"/customers?page={number + 1}")
    page = look()
    assert [name for name in page.texts if name.startswith("cus_")] == ids[:0:-1]
    assert page.texts["customers-title"] == "Customers 26, the newest 25"
    requests = page.rows("request-")
    assert "?page=26" in requests[0]
    assert len(requests) == 50
    assert page.texts["requests-title"] == "Requests 52, the newest 50"


def test_requests_for_the_page_are_not_among_the_requests(box, browser):
    for path in ("/", "/favicon.ico", "/.well-known/appspecific/com.chrome.devtools.json"):
        browser.get(path)
    browser.head("/")
    assert box.requests == ()


def test_while_nothing_happens_the_answer_is_304_and_empty(browser):
    first = browser.get("/")
    again = browser.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize(
    "happens",
    [
        lambda box, api: api.get("/customers"),
        lambda box, api: box.faults.add("drop"),
        lambda box, api: api.post("/customers", json={"name": "A", "email": "a@example.com"}),
        lambda box, api: box.reset(),
    ],
    ids=["a request", "a fault", "a customer", "a reset"],
)
def test_after_something_has_happened_the_page_is_sent_again(box, api, browser, happens):
    api.get("/customers")
    seen = browser.get("/").headers["ETag"]
    happens(box, api)
    assert browser.get("/", headers={"If-None-Match": seen}).status_code == 200


def test_what_was_seen_of_one_sandbox_is_not_taken_for_another():
    seen = set()
    for _ in range(2):
        with Sandbox() as box:
            seen.add(httpx.get(box.url.removesuffix("/api/v1")).headers["ETag"])
    assert len(seen) == 2


def test_the_page_itself_says_which_version_it_is(browser):
    answer = browser.get("/")
    (version,) = [attributes["data-version"] for tag, attributes in Page(answer.text).tags if tag == "body"]
    assert version == answer.headers["ETag"]


def test_nothing_may_run_or_load_but_the_scripts_and_styles_of_the_page(browser):
    answer = browser.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{tag}.*?>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy.pop(directive) == f"'sha256-{digest}'"
    assert policy == {
        "default-src": "'none'",
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_nothing_is_asked_of_other_servers(look):
    linked = [value for _, attributes in look().tags for name, value in attributes.items() if name in ("href", "src")]
    assert linked
    assert all(value.startswith(("#", "data:")) for value in linked)


def test_whatever_was_sent_is_shown_as_text():
    page = rendered(
        customers=[a_customer(name=MARKUP, email=MARKUP, tags=[MARKUP], sentiment=MARKUP, status=MARKUP)],
        requests=[
            a_request(
                method=MARKUP, path=MARKUP, query=MARKUP, headers={MARKUP: MARKUP}, body=MARKUP.encode(), fault=MARKUP
            ),
            a_request(path=f"/api/v1/teams/{TEAM}{MARKUP}", request_id=MARKUP),
        ],
        deliveries=[
            a_delivery(
                url=MARKUP, customer_id=MARKUP, event_type=MARKUP, attempts=(an_attempt(error=MARKUP),),
                payload=MARKUP.encode(),
            )
        ],
        faults=[Fault("status", status=503, path=f"/{MARKUP}", retry_after=MARKUP)],
        team_id=MARKUP,
    )  # fmt: skip
    assert "img" not in [tag for tag, _ in page.tags]
    # More often than it was given, where a row has it in short and its details in full.
    told = {section: page.texts[section].count(MARKUP) for section in ("faults", "requests", "customers", "deliveries")}
    assert told == {"faults": 2, "requests": 13, "customers": 5, "deliveries": 6}


def test_attributes_are_escaped_too():
    assert (
        element("a", "<b>", element("i", "&"), href='"><b>')
        == '<a href="&quot;&gt;&lt;b&gt;">&lt;b&gt;<i>&amp;</i></a>'
    )


def test_no_key_and_no_secret_is_shown_wherever_it_was_sent(box, api, browser):
    for secret in (box.api_key, box.publishable_key, box.webhook_secret, "sk_live_" + "a" * 32):
        api.post(
            f"/customers?key={secret}&next=%3D{secret}",
            headers={"X-Api-Key": secret, "Authorization": f"Bearer {secret}"},
            json={"notes": f"It is {secret}."},
        )
    text = browser.get("/").text
    assert "X-Api-Key: sk_live_***".lower() in text
    for secret in (box.api_key, box.publishable_key, box.webhook_secret, "a" * 32):
        assert secret not in text


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b'{"a":1,"b":[true,null]}', '{\n  "a": 1,\n  "b": [\n    true,\n    null\n  ]\n}'),
        (b'{"a":1,"a":2}', '{"a":1,"a":2}'),
        (b'{"a":1.10}', '{"a":1.10}'),
        (b'{"a":"\\ud800"}', '{"a":"\\ud800"}'),
        (b"[" * 3000, "[" * 3000),
        (b"<p>", "<p>"),
        (b"\xff\x00", "\ufffd\x00"),
    ],
    ids=["JSON", "a name twice", "a zero at the end", "half a character", "too deep", "not JSON", "not text"],
)
def test_json_is_set_out_on_lines_and_everything_else_stays_as_it_was_sent(sent, shown):
    row = rendered(requests=[a_request(body=sent)]).rows("request-")[0]
    assert row.endswith(f"Body{shown}1.2 ms")


def test_of_a_long_body_the_beginning_is_shown():
    row = rendered(requests=[a_request(body=b"x" * 1_000_000)]).rows("request-")[0]
    assert f"Body, the first 4,000 of 1,000,000 characters{'x' * 4000}1.2 ms" in row


def test_a_text_that_cannot_be_encoded_does_not_break_the_page(box, browser):
    path = f"/teams/{box.team_id}/customers"
    headers = {"Authorization": f"Bearer {box.api_key}", "Content-Type": "application/json"}
    httpx.post(box.url + path, content=b'{"name": "\\ud800"}', headers=headers)
    assert "name" in Page(browser.get("/").text).texts["requests"]


def test_requests_of_the_same_instant_have_rows_of_their_own_that_stay_the_same():
    def ids(requests):
        return [attributes["id"] for tag, attributes in rendered(requests=requests).tags if tag == "tr" and attributes]

    requests = [a_request(at=NOON + timedelta(seconds=1)), a_request(), a_request()]
    assert len(set(ids(requests))) == 3
    assert ids([a_request(at=NOON + timedelta(seconds=2)), *requests])[1:] == ids(requests)
    assert ids([a_request(at=NOON + timedelta(seconds=1)), *requests])[1:] == ids(requests)


@pytest.mark.parametrize(
    ("status", "tone"), [(200, "good"), (304, "accent"), (404, "warning"), (503, "bad"), (None, "bad"), (700, "plain")]
)
def test_a_status_has_the_colour_of_its_class(status, tone):
    tags = rendered(requests=[a_request(status=status)]).tags
    assert [attributes["class"] for tag, attributes in tags if "badge" in attributes.get("class", "")] == [
        f"badge {tone}"
    ]


def test_every_table_has_a_caption_and_says_what_its_columns_are():
    tags = rendered(requests=[a_request()], customers=[a_customer()], deliveries=[a_delivery()]).tags
    names = [tag for tag, _ in tags]
    assert (names.count("table"), names.count("caption"), names.count("thead")) == (3, 3, 3)
    assert {attributes.get("scope") for tag, attributes in tags if tag == "th"} == {"col", "row"}


def test_all_sections_are_named_by_headings_that_exist(box, api, look):
    box.faults.add("drop", path="/elsewhere")
    api.post("/customers", json={"name": "A", "email": "a@example.com"})
    page = look()
    named = [attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes]
    assert {tag for tag, attributes in page.tags if attributes.get("id") in named} == {"h2"}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
