"""Write an index of wheels for pip, as static files: `python -m release.index FOLDER… --out DIR`.

`DIR/simple/` has a page for each project (PEP 503, in HTML, and PEP 691, in JSON, beside it), `DIR/files/`
the distributions and their metadata (PEP 658). Any web server serves it, and pip takes it from a folder too:
`pip install --index-url URL/simple/ llama-ffi`.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import distributions
from .distributions import Distribution, ReleaseError

API_VERSION = "1.1"


def entry(one: Distribution, base: str) -> dict[str, Any]:
    """Return what PEP 691 says of a file.

    Arguments:
        base: what its URL begins with.
    """
    metadata = {"sha256": hashlib.sha256(one.raw_metadata).hexdigest()}
    facts: dict[str, Any] = {
        "filename": one.path.name,
        "url": base + quote(one.path.name),
        "hashes": {"sha256": one.sha256},
        "size": one.path.stat().st_size,
    }
    wanted = one.metadata["Requires-Python"]
    if wanted:
        facts["requires-python"] = wanted
    if one.is_wheel:
        facts["core-metadata"] = facts["dist-info-metadata"] = metadata
    return facts


def json_page(project: str, ones: Sequence[Distribution], base: str) -> str:
    """Return the page of a project for PEP 691."""
    page = {
        "meta": {"api-version": API_VERSION},
        "name": project,
        "versions": list(dict.fromkeys(one.version for one in ones)),
        "files": [entry(one, base) for one in ones],
    }
    return json.dumps(page, indent=1, sort_keys=True) + "\n"


def html_page(title: str, links: Iterable[tuple[str, str, dict[str, str]]]) -> str:
    """Return a page of links.

    Arguments:
        links: (text, URL, further attributes) of each.
    """
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta name="pypi:repository-version" content="{API_VERSION}">',
        f"<title>{html.escape(title)}</title></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for text, url, attributes in links:
        more = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
        lines.append(f'<a href="{html.escape(url)}"{more}>{html.escape(text)}</a><br>')
    return "\n".join([*lines, "</body></html>", ""])


def project_page(project: str, ones: Sequence[Distribution], base: str) -> str:
    """Return the page of a project for PEP 503."""
    links = []
    for one in ones:
        facts = entry(one, base)
        attributes = {}
        if "requires-python" in facts:
            attributes["data-requires-python"] = facts["requires-python"]
        if "core-metadata" in facts:
            attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = (
                "sha256=" + facts["core-metadata"]["sha256"]
            )
        links.append((one.path.name, f"{facts['url']}#sha256={one.sha256}", attributes))
    return html_page(f"Links for {project}", links)


def write(ones: Sequence[Distribution], out: Path, base_url: str = "") -> None:
    """Write the index into a folder that is new or empty.

    Arguments:
        ones: sorted by project.
        base_url: where the files are, if not in ``files/`` beside ``simple/``.

    Raises:
        ReleaseError: the folder has something in it, or the metadata of a file can't be.
    """
    if out.exists() and any(out.iterdir()):
        raise ReleaseError(f"{out} isn't empty")
    base = base_url.rstrip("/") + "/" if base_url else "../../files/"
    pages: dict[str, str] = {}
    projects = []
    for project, group in groupby(ones, key=lambda one: one.project):
        of_project = list(group)
        projects.append(project)
        pages[f"simple/{project}/index.html"] = project_page(project, of_project, base)
        pages[f"simple/{project}/index.json"] = json_page(project, of_project, base)
    pages["simple/index.html"] = html_page("Simple index", ((name, f"{name}/", {}) for name in projects))
    listed = {"meta": {"api-version": API_VERSION}, "projects": [{"name": name} for name in projects]}
    pages["simple/index.json"] = json.dumps(listed, indent=1, sort_keys=True) + "\n"
    if not base_url:
        (out / "files").mkdir(parents=True)
        for one in ones:
            _place(one.path, out / "files" / one.path.name)
            if one.is_wheel:
                (out / "files" / f"{one.path.name}.metadata").write_bytes(one.raw_metadata)
    for name, text in pages.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _place(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m release.index", description="Write an index for pip.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="where wheels are")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument(
        "--base-url", default="", metavar="URL", help="where the files are published, if not beside it"
    )
    options = parser.parse_args(arguments)
    try:
        ones = distributions.in_folders(options.folders)
        write(ones, options.out, options.base_url)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(ones)} files of {len({one.project for one in ones})} projects in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
