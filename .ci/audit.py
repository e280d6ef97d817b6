"""Fail if a version in constraints.txt has a known vulnerability.

The data on vulnerabilities comes from PyPI. pip-audit fails if PyPI cannot be reached. This script then prints the
reason and passes. A mirror of PyPI may have no such data, so the script first looks up a version that is known to be
vulnerable.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
VULNERABLE_RELEASE_URL = "https://pypi.org/pypi/urllib3/1.24/json"  # CVE-2019-11324, among others


def main() -> int:
    """Return the exit status."""
    if reason := unavailable_reason():
        print(f"The versions were not audited, because PyPI has no data on vulnerabilities here: {reason}")
        return 0
    # --strict: fail on a version that PyPI does not know.
    options = ["--strict", "--no-deps", "--disable-pip", "--progress-spinner=off", "--requirement", str(CONSTRAINTS)]
    return subprocess.run([sys.executable, "-m", "pip_audit", *options], check=False).returncode


def unavailable_reason() -> str | None:
    """Return the reason why PyPI's data on vulnerabilities is unavailable; `None` if it is available."""
    try:
        with urlopen(VULNERABLE_RELEASE_URL, timeout=30) as response:
            found = json.load(response)["vulnerabilities"]
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None if found else f"{VULNERABLE_RELEASE_URL} lists none"


if __name__ == "__main__":
    sys.exit(main())
