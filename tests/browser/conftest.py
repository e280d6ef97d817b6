"""A fixture for headless Chromium, which `.ci/browser` installs. Plain `pytest` does not collect these tests."""

import pytest
from selenium.common import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,800",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",  # the name of another site, for DNS rebinding
)
_TEXT = "document.querySelector(arguments[0])?.textContent.replaceAll('\\n', '')"


class Browser(Chrome):
    """Chromium, with helpers for these tests."""

    def run(self, script, *arguments):
        return self.execute_script(script, *arguments)

    def text(self, selector):
        """Return the text of the first match of a selector, hidden or not, without line breaks; "" without a match."""
        return self.run(f"return {_TEXT} ?? ''", selector)

    def count(self, selector):
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def retry(self, condition):
        """Call a function until it returns a true value. Ignore errors: a page that is being replaced raises some."""
        WebDriverWait(self, 10, 0.05, [WebDriverException]).until(lambda _: condition())

    def wait_until(self, condition, *arguments):
        """Wait until an expression is true; evaluate it once per frame."""
        script = f"""
            const done = arguments[arguments.length - 1];
            const check = () => {{ if ({condition}) done(true); else requestAnimationFrame(check); }};
            check();
        """
        self.retry(lambda: self.execute_async_script(script, *arguments))

    def wait_for_text(self, selector, text):
        self.wait_until(f"{_TEXT}?.includes(arguments[1])", selector, text)

    def refresh_twice(self):
        """Wait for two more requests of the page; the first response has then been applied."""
        self.wait_until(
            "performance.getEntriesByType('resource').length >= arguments[0]",
            self.run("return performance.getEntriesByType('resource').length") + 2,
        )

    def resize(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def console_messages(self):
        """Return the errors, warnings and policy violations since the last call."""
        return [entry["message"] for entry in self.get_log("browser")]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for switch in (*_SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Browser(options, Service("/usr/bin/chromedriver"))
    try:
        browser.set_script_timeout(10)
        yield browser
    finally:
        browser.quit()
