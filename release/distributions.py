"""Read wheels and source archives: name, version, metadata, hash."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from functools import cached_property
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)


class ReleaseError(Exception):
    """A file or a folder can't be used; the message says which and why."""


@dataclass(frozen=True)
class Distribution:
    """A wheel or a source archive."""

    path: Path
    project: str
    """its name, normalized"""
    version: str

    @property
    def is_wheel(self) -> bool:
        """Whether it can be installed as it is."""
        return self.path.suffix == ".whl"

    @cached_property
    def sha256(self) -> str:
        """The hash of the file, in hex."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    @cached_property
    def raw_metadata(self) -> bytes:
        """The file METADATA or PKG-INFO, as it is."""
        try:
            return _wheel_metadata(self.path) if self.is_wheel else _sdist_metadata(self.path)
        except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise ReleaseError(f"{self.path.name}: its metadata can't be read: {error}") from None

    @cached_property
    def metadata(self) -> Message:
        """Its metadata, by field."""
        found = BytesParser().parsebytes(self.raw_metadata)
        stated = canonicalize_name(found["Name"] or ""), found["Version"]
        if stated != (self.project, self.version):
            raise ReleaseError(
                f"{self.path.name} is {stated[0]} {stated[1]} by its metadata; its name says "
                f"{self.project} {self.version}"
            )
        return found


def _wheel_metadata(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        if len(names) != 1:
            raise KeyError(f"{len(names)} files METADATA")
        return archive.read(names[0])


def _sdist_metadata(path: Path) -> bytes:
    with tarfile.open(path) as archive:
        names = [name for name in archive.getnames() if name.count("/") == 1 and name.endswith("/PKG-INFO")]
        file = archive.extractfile(names[0]) if names else None
        if file is None:
            raise KeyError("no PKG-INFO")
        return file.read()


def read(path: Path) -> Distribution:
    """Return a wheel or source archive.

    Raises:
        ReleaseError: the name of the file is of neither.
    """
    try:
        if path.suffix == ".whl":
            project, version, _, _ = parse_wheel_filename(path.name)
        else:
            project, version = parse_sdist_filename(path.name)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise ReleaseError(str(error)) from None
    return Distribution(path, project, str(version))


def in_folders(folders: Iterable[Path]) -> list[Distribution]:
    """Return the wheels and source archives below some folders, sorted by project, version and name.

    Raises:
        ReleaseError: there are none, two differ under one name, or a folder doesn't exist.
    """
    found: dict[str, Distribution] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ReleaseError(f"{folder} is no folder")
        for path in sorted(folder.rglob("*")):
            if not path.name.endswith((".whl", ".tar.gz")):
                continue
            one = read(path)
            other = found.setdefault(path.name, one)
            if other.sha256 != one.sha256:
                raise ReleaseError(f"{path.name} is there twice, with different contents")
    if not found:
        raise ReleaseError(f"no wheel and no source archive in {', '.join(map(str, folders))}")
    return sorted(found.values(), key=lambda each: (each.project, each.version, each.path.name))
