"""Put a bill of materials into wheels: `python -m release.sbom WHEEL… [--out DIR]`.

Each gets `.dist-info/sboms/<name>.cdx.json` (PEP 770) in CycloneDX's format: the distribution itself,
the llama.cpp that its libraries are made of (by commit), each library with its hash, the code of others in
it with its licence, and what pip installs beside it. It is the last step: auditwheel may change libraries
before.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import os
import shutil
import sys
import uuid
import zipfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cyclonedx.model import AttachedText, HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from . import distributions
from .distributions import Distribution, ReleaseError

LIBRARIES = (".so", ".dylib", ".dll", ".metallib")


def bom_of(one: Distribution) -> Bom:
    """Return the bill of materials of a wheel.

    Raises:
        ReleaseError: the wheel can't be read.
    """
    with zipfile.ZipFile(one.path) as archive:
        names = sorted(archive.namelist())
        manifest = _manifest(archive, names)
        hashes = {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in names
            if name.endswith(LIBRARIES) or ".so." in name
        }
        texts = {
            name: archive.read(name) for name in names if "/licenses/" in name and ".dist-info" not in name
        }
        first = min(info.date_time for info in archive.infolist())
    subject = Component(
        name=one.metadata["Name"],
        version=one.version,
        type=ComponentType.LIBRARY,
        bom_ref="subject",
        purl=PackageURL("pypi", name=one.project, version=one.version),
        description=one.metadata["Summary"],
        licenses=[DisjunctiveLicense(id=one.metadata["License-Expression"])]
        if one.metadata["License-Expression"]
        else None,
        properties=[Property(name="llama-ffi:tag", value=one.path.stem.split("-", 2)[2])],
    )
    bom = Bom(
        metadata=BomMetaData(component=subject, timestamp=datetime(*first, tzinfo=timezone.utc)),
        # the same wheel, the same bill
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([one.path.name, hashes], sort_keys=True)),
    )
    native = [_library(name, digest) for name, digest in hashes.items()]
    source = _llama_cpp(manifest) if manifest else None
    required = _requirements(one)
    others = [
        _of_others(name, text) for name, text in texts.items() if Path(name).name != "llama.cpp-LICENSE"
    ]
    for component in (*native, *([source] if source else []), *others, *required):
        bom.components.add(component)
    bom.register_dependency(subject, [*native, *required])
    for library in native:
        bom.register_dependency(library, [*([source] if source else []), *others])
    return bom


def _manifest(archive: zipfile.ZipFile, names: Sequence[str]) -> dict[str, Any] | None:
    found = [name for name in names if name.endswith("/manifest.json") and name.count("/") <= 2]
    if not found:
        return None
    result: dict[str, Any] = json.loads(archive.read(found[0]))
    return result


def _library(name: str, digest: str) -> Component:
    return Component(
        name=name,
        type=ComponentType.FILE,
        bom_ref=name,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )


def _llama_cpp(manifest: dict[str, Any]) -> Component:
    facts = {name: manifest.get(name) for name in ("backend", "compiler", "system", "tree_sha256")}
    return Component(
        name="llama.cpp",
        version=manifest["commit"],
        type=ComponentType.LIBRARY,
        bom_ref="llama.cpp",
        purl=PackageURL("github", namespace="ggml-org", name="llama.cpp", version=manifest["commit"]),
        licenses=[DisjunctiveLicense(id="MIT")],
        properties=[
            Property(name=f"llama-ffi:{name}", value=str(value)) for name, value in facts.items() if value
        ],
    )


def _of_others(name: str, text: bytes) -> Component:
    """Return a component for code inside of llama.cpp, known by its licence file."""
    stem = Path(name).name.removesuffix(".md")
    title = stem.removeprefix("llama.cpp-LICENSE-").removesuffix("-LICENSE")
    licence = DisjunctiveLicense(name=stem, text=AttachedText(content=text.decode("utf-8", "replace")))
    return Component(name=title, type=ComponentType.LIBRARY, bom_ref=f"inside:{title}", licenses=[licence])


def _requirements(one: Distribution) -> list[Component]:
    found = []
    for line in one.metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        optional = requirement.marker is not None and "extra" in str(requirement.marker)
        found.append(
            Component(
                name=name,
                type=ComponentType.LIBRARY,
                bom_ref=f"requires:{line}",
                scope=ComponentScope.OPTIONAL if optional else ComponentScope.REQUIRED,
                purl=PackageURL("pypi", name=name),
                properties=[Property(name="llama-ffi:requirement", value=line)],
            )
        )
    return found


def text_of(one: Distribution) -> str:
    """Return the bill of materials of a wheel as JSON, the same for the same wheel."""
    return str(JsonV1Dot6(bom_of(one)).output_as_string(indent=1)) + "\n"


def embed(one: Distribution, out: Path) -> Path:
    """Write a copy of a wheel that holds its bill of materials into a folder; return its path.

    What was in the wheel stays as it was compressed: its size is judged to the last per cent.

    Raises:
        ReleaseError: it isn't a wheel, or can't be read.
    """
    if not one.is_wheel:
        raise ReleaseError(f"{one.path.name} isn't a wheel")
    text = text_of(one).encode()
    with zipfile.ZipFile(one.path) as archive:
        entries = archive.infolist()
        (record,) = [entry for entry in entries if entry.filename.endswith(".dist-info/RECORD")]
        name = record.filename.replace("/RECORD", f"/sboms/{one.project}.cdx.json")
        old = [entry for entry in entries if entry.filename in (name, record.filename)]
        lines = _recorded(archive.read(record).decode(), name, text)
        date = min(entry.date_time for entry in entries)
    out.mkdir(parents=True, exist_ok=True)
    target = out / one.path.name
    partial = target.with_name(target.name + ".part")
    if entries[-len(old) :] == old:  # as the format wants it, the record is last
        shutil.copyfile(one.path, partial)
        with zipfile.ZipFile(partial, "a") as archive:
            for entry in archive.infolist()[-len(old) :]:
                archive.filelist.remove(entry)
                del archive.NameToInfo[entry.filename]
            archive.start_dir = old[0].header_offset
            _add(archive, {name: text, record.filename: lines}, date)
    else:
        with zipfile.ZipFile(one.path) as archive, zipfile.ZipFile(partial, "w") as made:
            for entry in entries:
                if entry not in old:
                    made.writestr(entry, archive.read(entry), zipfile.ZIP_DEFLATED, 9)
            _add(made, {name: text, record.filename: lines}, date)
    os.replace(partial, target)
    return target


def _recorded(record: str, name: str, data: bytes) -> bytes:
    """Return a wheel's RECORD with one more file."""
    rows = [row for row in csv.reader(io.StringIO(record)) if row and row[0] != name]
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    rows.insert(len(rows) - 1, [name, f"sha256={digest}", str(len(data))])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _add(
    archive: zipfile.ZipFile, files: dict[str, bytes], date: tuple[int, int, int, int, int, int]
) -> None:
    for name, data in files.items():
        entry = zipfile.ZipInfo(name, date)
        entry.external_attr = 0o100644 << 16
        archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m release.sbom", description="Put a bill of materials into each wheel."
    )
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL", help="wheels, or folders of them")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--out", type=Path, metavar="DIR", help="write the new wheels there (default: in place)"
    )
    where.add_argument("--show", action="store_true", help="print the bills and write nothing")
    options = parser.parse_args(arguments)
    try:
        paths = [found for given in options.wheels for found in _wheels(given)]
        for path in paths:
            one = distributions.read(path)
            if options.show:
                print(text_of(one), end="")
            else:
                print(embed(one, options.out or path.parent))
    except (ReleaseError, OSError, zipfile.BadZipFile) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _wheels(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    found = sorted(given.glob("*.whl"))
    if not found:
        raise ReleaseError(f"no wheel in {given}")
    return found


if __name__ == "__main__":
    sys.exit(main())
