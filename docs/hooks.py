"""Hooks of mkdocs: links to files of the repository work on a forge; here those files join the site."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def site_path(path: Path) -> str:
    """Return where a file of the repository lies in the site: the README is its first page, ``docs/`` its root."""
    inside = path.relative_to(ROOT).as_posix()
    return "index.md" if inside == "README.md" else inside.removeprefix("docs/")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages at the top of the repository."""
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to where their files lie in the site, and add files that are not there yet."""
    source = ROOT / page.file.src_uri if page.file.src_uri in PAGES else ROOT / "docs" / page.file.src_uri

    def relink(match: re.Match[str]) -> str:
        target = (source.parent / match[1]).resolve()
        if not target.is_file() or not target.is_relative_to(ROOT):
            return match[0]  # mkdocs warns
        uri = site_path(target)
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, abs_src_path=str(target)))
        return f"]({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')}{match[2] or ''})"

    return LINK.sub(relink, markdown)
