"""What the pages ship: vendored files as they were published, no foreign origin, nothing inline."""

import hashlib
import re
from pathlib import Path

import pytest

from plantprint_api import pages
from plantprint_api.middleware import CONTENT_POLICY
from plantprint_api.pages.render import static_url

FOLDER = Path(pages.__file__).parent
STATIC = FOLDER / "static"
OWN = [
    path
    for path in sorted([*FOLDER.glob("templates/*"), *STATIC.iterdir()])
    if path.suffix in {".html", ".js", ".css", ".svg"}
]


def test_vendored_files_are_the_published_ones() -> None:
    folder = STATIC / "vendor"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    present = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.parent != folder}
    assert present == set(listed)
    for name, recorded in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == recorded, name
    assert "MIT License" in (folder / "uplot-1.6.32" / "LICENSE").read_text()


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.name)
def test_nothing_is_asked_of_another_origin(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"""(https?:|wss?:)?//[a-z0-9-]+\.[a-z]|@import|url\(""", text)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("templates/*.html")), ids=lambda p: p.name)
def test_nothing_is_inline(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\son\w+\s*=|\sstyle\s*=|<style|javascript:", text)
    for attributes, content in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL):
        assert ('src="' in attributes and not content.strip()) or 'type="application/json"' in attributes


def test_the_policy_allows_no_inline_code_and_no_other_origin() -> None:
    assert "default-src 'self'" in CONTENT_POLICY
    assert "unsafe" not in CONTENT_POLICY
    assert "http" not in CONTENT_POLICY


def test_static_addresses_change_with_the_content() -> None:
    address = static_url("plantprint.css")
    digest = hashlib.sha256((STATIC / "plantprint.css").read_bytes()).hexdigest()
    assert address == f"/static/plantprint.css?v={digest[:10]}"
