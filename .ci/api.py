"""Fail if the public API breaks compatibility with the last tag, unless the changelog announces it.

To announce a break, add an entry to CHANGELOG.md, above the section of the last tag. It must begin with `**Breaking:**`
and contain the name that breaks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import griffe

if TYPE_CHECKING:
    Package: TypeAlias = griffe.Object | griffe.Alias

ROOT = Path(__file__).parent.parent
PACKAGES = ("cstar", "pytest_cstar")
HOW_TO_ANNOUNCE = (
    "Undo them, or add to CHANGELOG.md under [Unreleased]: - **Breaking:** `customers.list` takes no `tag`."
)


def main() -> bool:
    """Return whether a break is unannounced: the exit status."""
    if git("rev-parse", "--is-shallow-repository") == "true":
        sys.exit("This clone is shallow, so its tags are unknown: fetch the whole history.")
    tag = last_tag()
    if tag is None:
        print("There is no tag v* yet, so there is nothing to compare with.")
        return False
    unannounced = find_unannounced(tag)
    print(f"{len(unannounced)} unannounced breaks since {tag}.")
    if unannounced:
        print(HOW_TO_ANNOUNCE)
    return bool(unannounced)


def load(package: str, tag: str | None = None) -> Package:
    """Load the names of a package, from the working tree or from a tag, without importing it."""
    if tag is None:
        return griffe.load(package, search_paths=[ROOT / "src"], resolve_aliases=True, allow_inspection=False)
    return griffe.load_git(
        package, ref=tag, repo=ROOT, search_paths=["src"], resolve_aliases=True, allow_inspection=False
    )


def git(*arguments: str) -> str:
    """Return the output of git."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def last_tag() -> str | None:
    """Return the tag of the last release before this commit; `None` if there is none."""
    tags = git("tag", "--merged", "HEAD", "--sort=-creatordate", "v*").splitlines()
    return tags[0] if tags else None


def find_unannounced(tag: str) -> list[griffe.Breakage]:
    """Print the breaking changes since a tag, and return those that the changelog does not announce."""
    announced = announcements((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), tag)
    unannounced = list[griffe.Breakage]()
    for package in PACKAGES:
        for breakage in griffe.find_breaking_changes(load(package, tag), load(package)):
            is_announced = any(is_about(breakage, entry) for entry in announced)
            explained = breakage.explain(griffe.ExplanationStyle.ONE_LINE)
            print(f"{'announced' if is_announced else 'NOT announced'}: {explained}")
            if not is_announced:
                unannounced.append(breakage)
    return unannounced


def announcements(changelog: str, tag: str) -> list[str]:
    """Return the entries of the changelog about breaking changes since a tag."""
    since, _, _ = changelog.partition(f"\n## [{tag.removeprefix('v')}]")
    return [entry for entry in re.split(r"^- ", since, flags=re.MULTILINE) if entry.startswith("**Breaking:**")]


def is_about(breakage: griffe.Breakage, entry: str) -> bool:
    """Return whether an entry names the object that breaks."""
    return re.search(rf"\b{re.escape(breakage.obj.name)}\b", entry) is not None


if __name__ == "__main__":
    sys.exit(main())
