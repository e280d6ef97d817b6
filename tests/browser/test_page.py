"""The sandbox's page in a browser, while a program sends requests."""

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from selenium.webdriver import ActionChains, Keys

from cstar.sandbox import Sandbox
from support import team_client

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"
WIDE, NARROW = (1280, 800), (360, 740)


@pytest.fixture
def receiver():
    """A receiver of webhooks that delays its responses until `released` is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            server.released.wait(10)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.released = threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}/webhooks"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def box(receiver):
    with Sandbox(webhook_url=receiver.url) as box:
        yield box


@pytest.fixture
def api(box):
    with team_client(box) as client:
        yield client


@pytest.fixture
def create(api):
    numbers = itertools.count(1)

    def create(name="Ada Lovelace", **fields):
        response = api.post("/customers", json={"name": name, "email": f"{next(numbers)}@example.com", **fields})
        assert response.status_code == 201, response.text
        return response.json()["data"]["id"]

    return create


@pytest.fixture
def page(chromium, box):
    """The live page in a wide window. A message in the browser's console fails the test."""
    chromium.resize(*WIDE)
    chromium.get(box.page_url)
    chromium.wait_for_text("#status", "Live")
    yield chromium
    assert chromium.console_messages() == []
    chromium.get("about:blank")


def test_a_customer_and_its_request_appear_without_a_reload(page, create):
    page.run("window.kept = true")
    created = create("Grace Hopper")
    page.wait_for_text(f"#{created}", "Grace Hopper")
    page.wait_for_text("#requests tbody tr", "201POST")
    assert page.text("#customers-title") == "Customers 1"
    assert page.run("return window.kept")


def test_a_delivery_changes_from_pending_to_delivered_in_place(page, create, receiver):
    create()
    page.wait_for_text("#deliveries tbody tr", "pending")
    page.run("document.querySelector('#deliveries tbody tr').kept = true")
    receiver.released.set()
    page.wait_for_text("#deliveries tbody tr", "delivered")
    assert page.text("#deliveries tbody tr").endswith("204 No Content")
    assert page.run("return document.querySelector('#deliveries tbody tr').kept")


def test_a_row_is_kept_when_the_row_above_it_is_removed(page, create, api):
    older, newer = create(), create()
    page.wait_for_text("#customers-title", "Customers 2")
    page.run("document.getElementById(arguments[0]).kept = true", older)
    api.delete(f"/customers/{newer}")
    page.wait_for_text("#customers-title", "Customers 1")
    assert page.count("#customers tbody tr") == 1
    assert page.run("return document.getElementById(arguments[0]).kept", older)


def test_the_search_works_with_the_keyboard_alone(page, create, box):
    found = create("Grace Hopper")
    for _ in range(30):
        create()
    page.wait_for_text("#customers-title", "31, the newest 25")
    assert page.count(f"#{found}") == 0
    page.find_element("id", "search").send_keys("hopper", Keys.ENTER)
    page.wait_for_text("#customers-title", "1 of 31 match")
    page.wait_for_text("#status", "Live")  # the new page is then complete
    assert page.current_url == f"{box.page_url}?search=hopper#customers"
    assert page.text(f"#{found} b") == "Grace Hopper"
    assert page.run("return document.getElementById('search').value") == "hopper"
    create("Thomas Hopper")
    page.wait_for_text("#customers-title", "2 of 32 match")
    assert page.run("return document.documentElement.scrollTop") == 0


def test_updates_keep_the_text_and_the_focus_of_the_search_field(page, create):
    create()
    page.wait_for_text("#customers-title", "Customers 1")
    page.find_element("id", "search").send_keys("hop")
    create()
    page.wait_for_text("#customers-title", "Customers 2")
    page.refresh_twice()
    assert page.run("return document.activeElement.id") == "search"
    assert page.run("return document.activeElement.value") == "hop"


def test_a_narrow_window_shows_the_result_of_a_search(page, create):
    page.resize(*NARROW)
    for _ in range(30):
        create()
    page.wait_for_text("#customers-title", "30")
    page.find_element("id", "search").send_keys("ada", Keys.ENTER)
    page.wait_for_text("#customers-title", "30 of 30 match")
    page.wait_until("Math.abs(document.getElementById('customers').getBoundingClientRect().top) < 2")


def test_a_fault_is_shown_while_it_is_active(page, box, api):
    box.faults.add("status", status=503)
    page.wait_for_text("#faults", "status 503")
    api.get("/customers")
    page.wait_for_text("#requests tbody tr", "fault: status")
    assert page.count("#faults") == 0


def test_a_reset_empties_the_page(page, create, box):
    new = page.run("return document.querySelector('main').innerHTML")
    create(tags=["vip"])
    page.wait_for_text("#deliveries tbody tr", "pending")
    box.reset()
    page.wait_for_text("#requests", "No requests yet.")
    assert page.run("return document.querySelector('main').innerHTML") == new


def test_updates_keep_focus_selection_scroll_position_and_open_details(page, api):
    for number in range(30):
        api.get(f"/customers?page={number + 1}")
    page.wait_for_text("#requests", "?page=30")
    page.run(
        """
        const row = window.row = document.querySelectorAll("#requests tbody tr")[14];
        row.querySelector("details").open = true;
        row.scrollIntoView({block: "center"});
        row.querySelector("summary").focus({preventScroll: true});
        getSelection().selectAllChildren(row.querySelector("pre"));
        window.before = [String(getSelection()), row.getBoundingClientRect().top];
        """
    )
    for number in range(3):
        api.get(f"/customers?page=7{number}")
        page.wait_for_text("#requests tbody tr", f"?page=7{number}")
    page.refresh_twice()
    assert page.run("return row.querySelector('details').open")
    assert page.run("return document.activeElement === row.querySelector('summary')")
    text, top = page.run("return before")
    assert "user-agent" in text
    # Rows have fractional heights, but the scroll position is rounded to pixels.
    assert page.run("return [String(getSelection()), row.getBoundingClientRect().top]") == [
        text,
        pytest.approx(top, abs=1),
    ]


def test_without_changes_every_response_is_304_and_no_element_changes(page, create):
    create()
    page.wait_for_text("#requests tbody tr", "POST")
    page.wait_for_text("#deliveries tbody tr", "pending")
    page.refresh_twice()
    page.run(
        """
        window.changeCount = 0;
        performance.clearResourceTimings();
        new MutationObserver((changes) => { changeCount += changes.length; })
            .observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
        """
    )
    page.refresh_twice()
    assert page.run("return changeCount") == 0
    statuses = page.run("return performance.getEntriesByType('resource').map((each) => each.responseStatus)")
    assert set(statuses) == {304}


def test_markup_is_shown_as_text_and_does_not_run(page, create, api, box):
    page.run("window.alert = () => { window.ran = true; }")
    created = create(MARKUP, tags=[MARKUP], notes=MARKUP)
    api.get("/customers", params={"x": MARKUP}, headers={"X-Mine": MARKUP})
    box.faults.add("drop", path="*" + MARKUP.replace(" ", ""))
    page.wait_for_text("#faults", MARKUP.replace(" ", ""))
    page.wait_for_text("#deliveries tbody", created)
    assert page.text(f"#{created} b") == MARKUP
    page.refresh()  # as loaded, before any update by the script
    page.wait_for_text("#status", "Live")
    assert page.text(f"#{created} b") == MARKUP
    assert page.count("main script, main img") == 0
    assert page.run("return window.ran") is None


@pytest.mark.parametrize("size", [NARROW, (700, 800), WIDE], ids=["narrow", "middle", "wide"])
def test_the_page_fits_into_the_window_with_long_words(page, create, api, box, size):
    page.resize(*size)
    long = "x" * 200
    create(long, tags=[long, "beta"], notes=long)
    api.get(f"/customers/{long}?{long}", headers={"X-Mine": long})
    box.faults.add("drop", path="*" + long)
    page.wait_for_text("#requests tbody tr", long)
    page.wait_for_text("#faults", long)
    page.run("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    overflowing = page.run(
        """
        return [...document.querySelectorAll("body *")].filter((each) => {
            const {right, width} = each.getBoundingClientRect();
            return width > 1 && right > innerWidth && !each.closest("thead");
        }).map((each) => each.outerHTML.slice(0, 100));
        """
    )
    assert overflowing == []


@pytest.mark.parametrize("size", [NARROW, (700, 800), (1100, 800), WIDE], ids=["narrow", "middle", "1100", "wide"])
def test_addresses_break_only_after_punctuation(page, create, api, size):
    page.resize(*size)
    created = create(email="augusta.ada.king-countess-of-lovelace@department-of-analytics.example.com")
    api.get(f"/customers/{created}?first={'x' * 20}&second={'y' * 20}")
    page.wait_for_text("#requests tbody tr", "second=")
    page.wait_for_text("#deliveries tbody tr", created)
    lines = page.run(
        """
        for (const each of document.querySelectorAll("#requests details")) each.open = true;
        const lines = (element) => {  // of text, by the vertical position of each character
            const found = [], range = document.createRange();
            const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
            for (let top = null; texts.nextNode();) {
                for (let at = 0; at < texts.currentNode.length; at++) {
                    range.setStart(texts.currentNode, at);
                    range.setEnd(texts.currentNode, at + 1);
                    const box = range.getBoundingClientRect();
                    if (top === null || box.top > top + 5) found.push("");
                    top = box.top;
                    found[found.length - 1] += range.toString();
                }
            }
            return found;
        };
        return [...document.querySelectorAll(".customer span, summary code, dd code")].map(lines);
        """
    )
    assert any(len(each) > 1 for each in lines)
    assert [each for each in lines if any(line[-1] not in "@./-_?&=:," for line in each[:-1])] == []


def test_a_wide_window_shows_every_section_at_once(page, create):
    for _ in range(25):
        create()
    page.wait_for_text("#deliveries-title", "25")
    assert page.run(
        """
        return ["requests", "customers", "deliveries"].every((id) => {
            const {top, bottom} = document.getElementById(id).getBoundingClientRect();
            return top >= 0 && bottom <= innerHeight;
        });
        """
    )


def test_details_open_with_the_keyboard_alone(page, api):
    api.get("/customers")
    page.wait_for_text("#requests tbody tr", "GET")
    for _ in range(20):
        ActionChains(page).send_keys(Keys.TAB).perform()
        if page.run("return document.activeElement.matches('#requests summary')"):
            break
    ActionChains(page).send_keys(Keys.ENTER).perform()
    page.wait_until("document.querySelector('#requests details').open")
    assert "authorization: Bearer ***" in page.text("#requests details pre")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(page, create, api, box, scheme):
    create(tags=["vip"])
    api.get("/nowhere")
    api.patch("/customers/x", json={})
    box.faults.add("status", status=500, path="*/customers")
    api.get("/customers")
    box.faults.add("drop", path="/elsewhere")
    page.wait_for_text("#faults", "/elsewhere")
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.run("document.getAnimations().forEach((each) => each.finish())")
    contrasts = page.run(
        """
        const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const luminance = (colour) => {
            const [r, g, b] = channels(colour).map((c) => c / 255).map(
                (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (each) => {
            const colour = getComputedStyle(each).backgroundColor;
            return channels(colour)[3] === 0 ? ground(each.parentElement) : colour;
        };
        for (const each of document.querySelectorAll("details")) each.open = true;
        const texts = [...document.body.querySelectorAll("*")].filter(
            (each) => [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
        return texts.map((each) => {
            const both = [luminance(getComputedStyle(each).color), luminance(ground(each))];
            return [(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), each.outerHTML.slice(0, 80)];
        });
        """
    )
    assert len(contrasts) > 50
    assert [text for contrast, text in contrasts if contrast < 4.5] == []


def test_the_page_works_without_scripts(page, create):
    created = create("Grace Hopper")
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.refresh()
        assert "As of" in page.find_element("id", "status").text
        assert "Grace Hopper" in page.find_element("id", created).text
        page.find_element("id", "search").send_keys("nobody", Keys.ENTER)
        page.retry(lambda: "No customer has “nobody”" in page.find_element("id", "customers").text)
        page.find_element("css selector", "#requests summary").click()
        assert "authorization: Bearer ***" in page.find_element("css selector", "#requests pre").text
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_page_shows_that_the_sandbox_stopped_and_recovers(chromium):
    with Sandbox() as box:
        root, first_team = box.page_url, box.team_id
        chromium.get(root)
        chromium.wait_for_text("#status", "Live")
    chromium.wait_for_text("#status", "Not responding")
    assert first_team in chromium.text("dl")
    with Sandbox(port=httpx.URL(root).port) as box:
        chromium.wait_for_text("#status", "Live")
        assert box.team_id in chromium.text("dl")
        chromium.get("about:blank")
    assert all("ERR_CONNECTION" in message for message in chromium.console_messages())


_FETCH = """
const [url, headers, done] = arguments;
fetch(url, {headers}).then(async (response) => done([response.status, await response.text()]), () => done(null));
"""


def _paths(box):
    return ["/", "/?search=ada", "/_sandbox/requests", "/openapi.json", f"/api/v1/teams/{box.team_id}/customers"]


def test_a_site_whose_name_resolves_to_this_machine_cannot_read_the_sandbox(chromium):
    with Sandbox(customers=1) as box, team_client(box) as api:
        [customer] = api.get("/customers").json()["data"]
        key = {"Authorization": f"Bearer {box.api_key}"}
        port = httpx.URL(box.url).port
        chromium.get(f"http://evil.example:{port}/")
        assert chromium.current_url == f"http://evil.example:{port}/"
        assert chromium.run("return performance.getEntriesByType('navigation')[0].responseStatus") == 403
        pages = [chromium.page_source]
        for path in _paths(box):
            status, text = chromium.execute_async_script(_FETCH, path, key)
            assert status == 403
            pages.append(text)
        # Under its own name, the sandbox is another origin, which the browser does not let the site read.
        assert [chromium.execute_async_script(_FETCH, box.page_url[:-1] + path, {}) for path in _paths(box)] == [
            None
        ] * 5
        chromium.get("about:blank")
        chromium.console_messages()
    for text in pages:
        assert "The sandbox does not serve the host" in text
        assert not any(secret in text for secret in (box.team_id, customer["id"], customer["email"]))


def test_a_site_with_an_allowed_name_can_read_the_sandbox(chromium):
    with Sandbox(customers=1, allow_hosts=["evil.example"]) as box:
        chromium.get(f"http://evil.example:{httpx.URL(box.url).port}/")
        key = {"Authorization": f"Bearer {box.api_key}"}
        assert [chromium.execute_async_script(_FETCH, path, key)[0] for path in _paths(box)] == [200] * 5
        chromium.get("about:blank")
    chromium.console_messages()
