"""What code, tests and docs cite of the contract stands in `docs/contract.md`."""

from __future__ import annotations

import re
import tomllib

from strict.units import VERSION
from tests.kit.environment import ROOT

CITED = re.compile(r"(?<![\w%\"'{}.-])(?:P|F|X)\d{1,3}(?![\w\"'{}-])")
OTHERS = {"F401"}  # ruff's rules


def test_every_row_that_is_cited_is_there():
    listed = re.findall(r"^\| ([PFX]\d+) \| \S.+ \|$", (ROOT / "docs/contract.md").read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    cited: dict[str, str] = {}
    for folder in [ROOT / "docs", *(path.parent for path in ROOT.glob("*/__init__.py"))]:
        for path in [*folder.rglob("*.py"), *folder.rglob("*.md")]:
            cited |= {row: path.name for row in CITED.findall(path.read_text()) if row not in OTHERS}
    assert {row: name for row, name in cited.items() if row not in listed} == {}
    assert len(cited) > 100, "the pattern finds them"


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
