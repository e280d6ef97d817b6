"""A headless Chromium, which `.ci/browser` installs; `pytest` alone leaves these tests out."""

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

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
)


class Browser(Chrome):
    """Chromium, and what of it these tests ask again and again."""

    def run(self, script, *arguments):
        return self.execute_script(script, *arguments)

    def text(self, selector):
        """The text of the first element that a selector finds, with what is closed or cut off; "" if there is none."""
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def count(self, selector):
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def wait_until(self, condition, *arguments):
        """Wait until an expression holds, which the page looks at whenever it changes, and at every frame."""
        held = self.execute_async_script(
            f"""
            const done = arguments[arguments.length - 1];
            const look = () => {{ if ({condition}) done(true); else requestAnimationFrame(look); }};
            look();
            """,
            *arguments,
        )
        assert held

    def wait_for_text(self, selector, text):
        self.wait_until("document.querySelector(arguments[0])?.textContent.includes(arguments[1])", selector, text)

    def refresh_twice(self):
        """Wait until the page has asked the sandbox twice more: what one answer changes is then in place."""
        self.wait_until(
            "performance.getEntriesByType('resource').length >= arguments[0]",
            self.run("return performance.getEntriesByType('resource').length") + 2,
        )

    def resize(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def complaints(self):
        """Errors, warnings and violations of the Content-Security-Policy since the last time."""
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
