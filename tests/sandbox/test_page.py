"""The HTML of the page at the sandbox's root; `tests/browser` tests it in a browser."""

import base64
import hashlib
import re
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from cstar.sandbox import Delivery, DeliveryAttempt, Fault, ReceivedRequest, Sandbox
from cstar.sandbox._faults import fault_json
from cstar.sandbox._models import Customer
from cstar.sandbox._page import template
from support import team_client

TEAM = "11111111-2222-4333-8444-555555555555"
NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
MARKUP = """<img src=x onerror="alert(1)">'&amp;"""
HOSTILE = [
    MARKUP,
    "<script>alert(1)</script>",
    "</title></style></script>",
    '" onfocus=alert(1) x="',
    "' x='",
    "{{7*7}}",
    "{% x %}",
]
VOID = {"meta", "link", "img", "input", "rect", "path", "wbr"}
ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The tags of a page, and the text of each element with an id, without the white space between elements."""

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
        if data.isspace() and "\n" in data:
            return
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
    with team_client(box) as client:
        yield client


@pytest.fixture
def browser(box):
    with httpx.Client(base_url=box.page_url) as client:
        yield client


@pytest.fixture
def load_page(browser):
    return lambda search=None: Page(browser.get("/", params={"search": search} if search else None).text)


def render_page(**changes):
    return Page(render(**changes))


def render(*, requests=(), customers=(), deliveries=(), faults=(), **changes):
    """Render the page with some items; `requests` begins with the oldest."""
    state = {
        "base_path": "/api/v1",
        "root": "http://127.0.0.1:4010",
        "team_id": TEAM,
        "search": "",
        "faults": [fault_json(fault) for fault in faults],
        "requests": requests[::-1],
        "request_count": len(requests),
        "customers": customers,
        "match_count": len(customers),
        "customer_count": len(customers),
        "deliveries": deliveries,
        "delivery_count": len(deliveries),
    }
    return template().render({**state, **changes}, version='"1"', now=NOON)


def new_request(**changes):
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


def new_customer(**changes):
    values = {"id": f"cus_{1:032x}", "name": "Ada", "email": "ada@example.com", "created_at": NOON, "updated_at": NOON}
    return Customer.model_construct(**{**values, **changes})


def new_delivery(**changes):
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


def new_attempt(status=None, error=None):
    return DeliveryAttempt(NOON, "t=1,v1=2", status, error, 0.25)


def test_a_new_sandbox_shows_its_url_and_the_first_commands(box, load_page):
    texts = load_page().texts
    assert f"export CSTAR_BASE_URL={box.url}\nexport CSTAR_TEAM_ID={box.team_id}\n" in texts["requests"]
    assert "curl $CSTAR_BASE_URL/auth/whoami" in texts["requests"]
    assert "curl $CSTAR_BASE_URL/teams/$CSTAR_TEAM_ID/customers" in texts["customers"]
    assert "--webhook-url http://" in texts["deliveries"]
    assert "faults" not in texts


def test_a_created_customer_is_shown(api, load_page):
    created = api.post(
        "/customers",
        json={"name": "Ada Lovelace", "email": "ada@example.com", "sentiment": "angry", "tags": ["vip", "beta"]},
    ).json()["data"]
    page = load_page()
    assert page.texts[created["id"]].startswith("Ada Lovelaceada@example.comactiveangryvipbeta0")
    assert created["createdAt"].replace("Z", "+00:00") in [attributes.get("datetime") for _, attributes in page.tags]


def test_a_request_is_shown_without_its_key(box, api, load_page):
    response = api.post("/customers?dry=1", json={"name": "Ada"}, headers={"X-Mine": "yes"})
    (row,) = load_page().rows("request-")
    time = box.requests[0].at.astimezone().strftime("%H:%M:%S")
    assert row.startswith(f"{time}400POST/api/v1/teams/{box.team_id}/customers?dry=1Request ")
    assert response.headers["X-Request-Id"] in row
    assert "x-mine: yes\n" in row
    assert "authorization: Bearer ***" in row
    assert '{\n  "name": "Ada"\n}' in row
    assert row.endswith(" ms")


@pytest.mark.parametrize(
    ("changes", "mark"),
    [({"replayed": True}, "replayed"), ({"fault": "status"}, "fault: status"), ({"status": None}, "droppedGET")],
)
def test_replays_faults_and_dropped_connections_are_marked(changes, mark):
    marked, plain = render_page(requests=[new_request(), new_request(**changes)]).rows("request-")
    assert (mark in marked, mark in plain) == (True, False)


def test_active_faults_are_listed(box, load_page):
    box.faults.add("status", status=503, path="*/customers")
    assert "status 503path */customers" in load_page().texts["faults"]


def test_a_delivery_is_shown_with_its_url_and_payload(api, load_page):
    created = api.post("/customers", json={"name": "Ada", "email": "ada@example.com"}).json()["data"]
    (row,) = load_page().rows("dlv_")
    assert row.startswith(f"pendingcustomer.created{created['id']}http://127.0.0.1:9/webhooksDelivery dlv_")
    assert '"name": "Ada",\n' in row


@pytest.mark.parametrize(
    ("outcome", "attempts", "shown"),
    [
        ("pending", [], "none yet"),
        ("pending", [new_attempt(error="connection refused")], "connection refused"),
        ("delivered", [new_attempt(status=204)], "204 No Content"),
        ("delivered", [new_attempt(status=299)], "299"),
        ("failed", [new_attempt(error="no response"), new_attempt(500, "status 500")], "2, last: status 500"),
    ],
)
def test_a_delivery_shows_its_outcome_and_its_last_result(outcome, attempts, shown):
    row = render_page(deliveries=[new_delivery(outcome=outcome, attempts=tuple(attempts))]).texts["dlv_1"]
    assert row.startswith(outcome)
    assert row.endswith(shown)


def test_every_attempt_of_a_delivery_is_listed_with_its_time():
    attempts = (new_attempt(503, "status 503"), new_attempt(status=200))
    row = render_page(deliveries=[new_delivery(attempts=attempts)]).texts["dlv_1"]
    at = NOON.astimezone().strftime("%H:%M:%S")
    assert f"{at} status 503, 250 ms\n{at} 200 OK, 250 ms" in row


def test_the_newest_items_come_first_and_the_count_is_of_all_items(api, load_page):
    ids = [
        api.post("/customers", json={"name": "A", "email": f"{n}@example.com"}).json()["data"]["id"] for n in range(26)
    ]
    for number in range(26):
        api.get(f"/customers?page={number + 1}")
    page = load_page()
    assert [name for name in page.texts if name.startswith("cus_")] == ids[:0:-1]
    assert page.texts["customers-title"] == "Customers 26, the newest 25"
    requests = page.rows("request-")
    assert "?page=26" in requests[0]
    assert len(requests) == 50
    assert page.texts["requests-title"] == "Requests 52, the newest 50"


def test_a_search_shows_the_customers_that_match_and_their_number(api, load_page):
    ids = [
        api.post("/customers", json={"name": name, "email": email}).json()["data"]["id"]
        for name, email in [("Ada", "one@example.com"), ("Grace", "ADA@example.com"), ("Grace", "two@example.com")]
    ]
    page = load_page(" aDa ")
    assert [name for name in page.texts if name.startswith("cus_")] == [ids[1], ids[0]]
    assert page.texts["customers-title"] == "Customers 2 of 3 match"
    (field,) = [attributes for tag, attributes in page.tags if tag == "input"]
    assert (field["name"], field["value"]) == ("search", "aDa")


def test_a_search_with_many_matches_shows_the_newest(api, load_page):
    for number in range(26):
        api.post("/customers", json={"name": "Ada", "email": f"{number}@example.com"})
    assert load_page("ada").texts["customers-title"] == "Customers 26 of 26 match, the newest 25"


def test_a_search_without_matches_shows_a_hint(api, load_page):
    api.post("/customers", json={"name": "Ada", "email": "ada@example.com"})
    page = load_page("grace")
    assert page.texts["customers-title"] == "Customers 0 of 1 match"
    assert "No customer has “grace” in their name or email address." in page.texts["customers"]
    assert [attributes["value"] for tag, attributes in page.tags if tag == "input"] == ["grace"]


def test_the_search_field_has_a_label(api, load_page):
    assert "input" not in [tag for tag, _ in load_page().tags]  # nothing to search
    api.post("/customers", json={"name": "Ada", "email": "ada@example.com"})
    tags = load_page().tags
    assert [attributes["for"] for tag, attributes in tags if tag == "label"] == ["search"]
    assert [attributes["id"] for tag, attributes in tags if tag == "input"] == ["search"]


@pytest.mark.parametrize(
    ("address", "lines"),
    [
        ("ada.lovelace@example.com", "ada.|lovelace@|example.|com"),
        ("first-last+tag_1@mail.example", "first-|last+tag_|1@|mail.|example"),
        ("/customers?page=1&tag=a%20b", "/|customers?|page=|1&amp;|tag=|a%20b"),
        ("http://127.0.0.1:8000/x", "http://|127.0.0.1:|8000/|x"),
        (f"cus_{'0a' * 16}", f"cus_{'0a' * 16}"),
        ("<b>.'&'.\"x\"", "&lt;b&gt;.|&#39;&amp;|&#39;.|&#34;x&#34;"),
        ("sk_test_abcdefgh-ijk", "sk_|test_|***"),
    ],
    ids=["email address", "tag", "query", "URL", "id", "markup", "key"],
)
def test_lines_wrap_only_after_punctuation(address, lines):
    page = render(customers=[new_customer(email=address)])
    assert f"<span>{lines.replace('|', '<wbr>')}</span>" in page


def test_the_page_has_the_colours_star_and_fonts_of_the_documentation():
    page = re.sub(r"\s+", " ", render())
    site = re.sub(r"\s+", " ", (ROOT / "docs/site.css").read_text(encoding="utf-8"))
    star = (ROOT / "docs/star.svg").read_text(encoding="utf-8")
    for here, there in (("primary", "primary-fg-color"), ("sans", "text-font-family"), ("mono", "code-font-family")):
        (value,) = re.findall(rf"--{here}: ([^;]+);", page)
        assert f"--md-{there}: {value};" in site
    for here, there in (("accent", "typeset-a-color"), ("text", "default-fg-color")):
        assert re.findall(rf"--{here}: ([^;]+);", page) == re.findall(rf"--md-{there}: ([^;]+);", site)
    (path,) = re.findall(r' d="([^"]+)"', star)
    assert page.count(path) == 2  # the icon and the heading


def test_requests_for_the_page_are_not_in_the_request_log(box, browser):
    for path in ("/", "/favicon.ico", "/.well-known/appspecific/com.chrome.devtools.json"):
        browser.get(path)
    browser.head("/")
    assert box.requests == ()


def test_the_response_is_304_while_nothing_changes(browser):
    first = browser.get("/")
    again = browser.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize(
    "change",
    [
        lambda box, api: api.get("/customers"),
        lambda box, api: box.faults.add("drop"),
        lambda box, api: api.post("/customers", json={"name": "A", "email": "a@example.com"}),
        lambda box, api: box.reset(),
    ],
    ids=["a request", "a fault", "a customer", "a reset"],
)
def test_the_page_is_sent_again_after_a_change(box, api, browser, change):
    api.get("/customers")
    seen = browser.get("/").headers["ETag"]
    change(box, api)
    assert browser.get("/", headers={"If-None-Match": seen}).status_code == 200


def test_each_search_has_its_own_etag(browser):
    def get(search, **headers):
        return browser.get("/", params={"search": search}, headers=headers)

    first, second = get("ada").headers["ETag"], get("grace").headers["ETag"]
    assert first != second
    assert [get("ada", **{"If-None-Match": each}).status_code for each in (first, second)] == [304, 200]
    assert get("grace", **{"If-None-Match": second}).status_code == 304


def test_two_sandboxes_have_different_etags():
    seen = set()
    for _ in range(2):
        with Sandbox() as box:
            seen.add(httpx.get(box.page_url).headers["ETag"])
    assert len(seen) == 2


def test_the_page_contains_its_etag(browser):
    response = browser.get("/")
    (version,) = [attributes["data-version"] for tag, attributes in Page(response.text).tags if tag == "body"]
    assert version == response.headers["ETag"]


def test_the_policy_allows_only_the_script_and_the_style_of_the_page(browser):
    response = browser.get("/")
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{tag}.*?>(.*?)</{tag}>", response.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy.pop(directive) == f"'sha256-{digest}'"
    assert policy == {
        "default-src": "'none'",
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"


def test_the_page_loads_nothing_from_other_servers(load_page):
    linked = [
        value for _, attributes in load_page().tags for name, value in attributes.items() if name in ("href", "src")
    ]
    assert linked
    assert all(value.startswith(("#", "data:")) for value in linked)


def page_with(text):
    """Render the page with a text in every place that a client can fill."""
    fault = Fault("status", status=503)
    for name in ("path", "retry_after"):
        object.__setattr__(fault, name, text)  # bypasses the validation of Fault
    return render(
        customers=[new_customer(name=text, email=text, tags=[text], sentiment=text, status=text)],
        requests=[
            new_request(method=text, path=text, query=text, headers={text: text}, body=text.encode(), fault=text),
            new_request(path=f"/api/v1/teams/{TEAM}{text}", request_id=text),
        ],
        deliveries=[
            new_delivery(
                url=text, customer_id=text, event_type=text, attempts=(new_attempt(error=text),), payload=text.encode()
            )
        ],
        faults=[fault],
        team_id=TEAM,
        search=text,
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_clients_is_shown_as_text(text):
    page = Page(page_with(text))
    # Some texts are in a row and again in its details.
    counts = {section: page.texts[section].count(text) for section in ("faults", "requests", "customers", "deliveries")}
    assert counts == {"faults": 2, "requests": 13, "customers": 5, "deliveries": 6}
    (value,) = [attributes["value"] for tag, attributes in page.tags if tag == "input"]
    assert value == text


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_clients_adds_no_tags_and_no_attributes(text):
    def shape(page):
        return [(tag, sorted(attributes)) for tag, attributes in page.tags if tag != "wbr"]

    assert shape(Page(page_with(text))) == shape(Page(page_with("harmless")))


def test_keys_and_secrets_are_redacted_everywhere(box, api, browser):
    for secret in (box.api_key, box.publishable_key, box.webhook_secret, "sk_live_" + "a" * 32):
        api.post(
            f"/customers?key={secret}&next=%3D{secret}",
            headers={"X-Api-Key": secret, "Authorization": f"Bearer {secret}"},
            json={"notes": f"It is {secret}."},
        )
    text = browser.get("/", params={"search": box.api_key}).text.replace("<wbr>", "")
    assert 'value="sk_test_***"' in text
    assert "X-Api-Key: sk_live_***".lower() in text
    for secret in (box.api_key, box.publishable_key, box.webhook_secret, "a" * 32):
        assert secret not in text


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"a":1,"b":[true,null]}', '{\n  "a": 1,\n  "b": [\n    true,\n    null\n  ]\n}'),
        (b'{"a":1,"a":2}', '{"a":1,"a":2}'),
        (b'{"a":1.10}', '{"a":1.10}'),
        (b'{"a":"\\ud800"}', '{"a":"\\ud800"}'),
        (b"[" * 3000, "[" * 3000),
        (b"<p>", "<p>"),
        (b"\xff\x00", "\ufffd\x00"),
    ],
    ids=["JSON", "duplicate name", "trailing zero", "lone surrogate", "too deep", "not JSON", "not UTF-8"],
)
def test_json_bodies_are_indented_and_other_bodies_are_unchanged(body, shown):
    row = render_page(requests=[new_request(body=body)]).rows("request-")[0]
    assert row.endswith(f"Body{shown}1.2 ms")


def test_a_long_body_is_truncated():
    row = render_page(requests=[new_request(body=b"x" * 1_000_000)]).rows("request-")[0]
    assert f"Body, the first 4,000 of 1,000,000 characters{'x' * 4000}1.2 ms" in row


def test_a_lone_surrogate_does_not_break_the_page(api, load_page):
    api.post("/customers", content=b'{"name": "\\ud800"}')
    assert "name" in load_page().texts["requests"]


def test_the_rows_of_requests_have_different_ids_that_do_not_change():
    def ids(requests):
        return [
            attributes["id"] for tag, attributes in render_page(requests=requests).tags if tag == "tr" and attributes
        ]

    requests = [new_request(), new_request(), new_request(at=NOON + timedelta(seconds=1))]
    assert len(set(ids(requests))) == 3
    for seconds in (1, 2):
        assert ids([*requests, new_request(at=NOON + timedelta(seconds=seconds))])[1:] == ids(requests)


@pytest.mark.parametrize(
    ("status", "tone"), [(200, "good"), (304, "accent"), (404, "warning"), (503, "bad"), (None, "bad"), (700, "plain")]
)
def test_a_status_has_the_colour_of_its_class(status, tone):
    tags = render_page(requests=[new_request(status=status)]).tags
    assert [attributes["class"] for tag, attributes in tags if "badge" in attributes.get("class", "")] == [
        f"badge {tone}"
    ]


def test_every_table_has_a_caption_and_named_columns():
    tags = render_page(requests=[new_request()], customers=[new_customer()], deliveries=[new_delivery()]).tags
    names = [tag for tag, _ in tags]
    assert (names.count("table"), names.count("caption"), names.count("thead")) == (3, 3, 3)
    assert {attributes.get("scope") for tag, attributes in tags if tag == "th"} == {"col", "row"}


def test_every_section_is_named_by_its_heading(box, api, load_page):
    box.faults.add("drop", path="/elsewhere")
    api.post("/customers", json={"name": "A", "email": "a@example.com"})
    page = load_page()
    named = [attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes]
    assert {tag for tag, attributes in page.tags if attributes.get("id") in named} == {"h2"}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
