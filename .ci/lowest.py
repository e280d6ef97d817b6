"""Prints the lowest allowed version of each dependency that users get, as requirements."""

from __future__ import annotations

import re
from pathlib import Path

project = Path(__file__).parent.parent.joinpath("pyproject.toml").read_text(encoding="utf-8")
dependencies = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
sandbox = re.search(r"^sandbox = \[(.*)\]$", project, re.MULTILINE)
assert dependencies
assert sandbox
for name, version in re.findall(r'"(\w+)>=([\d.]+)', dependencies[1] + sandbox[1]):
    print(f"{name}=={version}")
