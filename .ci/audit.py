"""Asks PyPI whether versions in constraints.txt are known to be vulnerable; fails if so, but not for want of an answer.

Without PyPI, pip-audit fails as if it had found something; behind a mirror that knows of no vulnerabilities, it passes
as if there were none. So whether PyPI can be asked at all is found out first, with a version that has some.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
KNOWN_TO_BE_VULNERABLE = "https://pypi.org/pypi/urllib3/1.24/json"  # CVE-2019-11324, among others


def main() -> int:
    """The exit status."""
    if reason := why_unanswered():
        print(f"PyPI could not be asked about vulnerabilities, so nothing is known about these versions: {reason}")
        return 0
    # --strict: a version that PyPI does not know has not been audited either.
    options = ["--strict", "--no-deps", "--disable-pip", "--progress-spinner=off", "--requirement", str(CONSTRAINTS)]
    return subprocess.run([sys.executable, "-m", "pip_audit", *options], check=False).returncode


def why_unanswered() -> str | None:
    """Why PyPI does not tell of vulnerabilities from here; `None` if it does."""
    try:
        with urlopen(KNOWN_TO_BE_VULNERABLE, timeout=30) as response:
            found = json.load(response)["vulnerabilities"]
    except (OSError, ValueError, KeyError) as error:  # no network, an error status, a page of a proxy, another API
        return f"{type(error).__name__}: {error}"
    return None if found else f"{KNOWN_TO_BE_VULNERABLE} tells of none"


if __name__ == "__main__":
    sys.exit(main())
