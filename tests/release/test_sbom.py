"""The bill of materials in a wheel: valid, complete, reproducible, and the wheel is still one."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release import distributions, sbom
from release.distributions import ReleaseError
from tests.release import little_wheels

REQUIRES = ("numpy>=1.24", "llguidance<2; extra == 'guidance'")
NAME = "little_native-1.0.dist-info/sboms/little-native.cdx.json"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return little_wheels.make(
        tmp_path, "little-native", tag="py3-none-linux_x86_64", requires=REQUIRES, native=True
    )


def bill(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        result: dict[str, Any] = json.loads(archive.read(NAME))
    return result


def test_it_is_valid_and_complete(wheel: Path) -> None:
    text = sbom.text_of(distributions.read(wheel))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    said = json.loads(text)
    parts = {part["name"]: part for part in said["components"]}
    assert parts["llama.cpp"]["version"] == little_wheels.COMMIT
    assert parts["llama.cpp"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert parts["llama.cpp"]["purl"] == f"pkg:github/ggml-org/llama.cpp@{little_wheels.COMMIT}"
    (digest,) = parts["little_native/_native/libllama-012345678.so"]["hashes"]
    assert digest == {"alg": "SHA-256", "content": hashlib.sha256(b"\x7fELF no library").hexdigest()}
    assert parts["cpp-httplib"]["licenses"][0]["license"]["text"]["content"].startswith("The MIT")
    assert (parts["numpy"]["scope"], parts["llguidance"]["scope"]) == ("required", "optional")
    subject = said["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("little-native", "1.0")
    assert subject["licenses"] == [{"license": {"id": "MIT"}}]


def test_the_wheel_installs_and_its_record_is_true(wheel: Path, tmp_path: Path) -> None:
    before = zipfile.ZipFile(wheel).namelist()
    made = sbom.embed(distributions.read(wheel), tmp_path / "out")
    assert made.name == wheel.name
    with zipfile.ZipFile(made) as archive:
        assert set(archive.namelist()) - set(before) == {NAME}
        record = archive.read("little_native-1.0.dist-info/RECORD").decode()
        for name, digest, size in csv.reader(io.StringIO(record)):
            if not name.endswith("RECORD"):
                data = archive.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={expected}", len(data)), name
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(tmp_path / "to")]
    local = made.rename(made.with_name("little_native-1.0-py3-none-any.whl"))
    done = subprocess.run([*command, str(local)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to" / NAME).is_file()


def test_twice_is_the_same(wheel: Path, tmp_path: Path) -> None:
    one = distributions.read(wheel)
    first = sbom.embed(one, tmp_path / "a").read_bytes()
    assert sbom.embed(one, tmp_path / "b").read_bytes() == first
    # again, of the result: it replaces its bill
    again = sbom.embed(distributions.read(tmp_path / "a" / wheel.name), tmp_path / "c")
    assert again.read_bytes() == first


def test_nothing_is_compressed_again(wheel: Path, tmp_path: Path) -> None:
    made = sbom.embed(distributions.read(wheel), tmp_path / "out")
    record = "little_native-1.0.dist-info/RECORD"
    entries = {entry.filename: entry for entry in zipfile.ZipFile(wheel).infolist()}
    copied = {entry.filename: entry for entry in zipfile.ZipFile(made).infolist()}
    assert set(copied) == {*entries, NAME}
    data, copy = wheel.read_bytes(), made.read_bytes()
    end = entries[record].header_offset
    assert copy[:end] == data[:end] and end > 500
    assert zipfile.ZipFile(made).testzip() is None


def test_a_record_that_is_not_last(wheel: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / wheel.name
    other.parent.mkdir()
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(other, "w") as turned:
        for entry in reversed(archive.infolist()):
            turned.writestr(entry, archive.read(entry))
    made = sbom.embed(distributions.read(other), tmp_path / "out")
    assert bill(made)["bomFormat"] == "CycloneDX"
    assert zipfile.ZipFile(made).testzip() is None
    assert sorted(zipfile.ZipFile(made).namelist()) == sorted([*zipfile.ZipFile(wheel).namelist(), NAME])


def test_the_command(wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sbom.main([str(wheel), "--show"]) == 0
    assert json.loads(capsys.readouterr().out)["bomFormat"] == "CycloneDX"
    assert sbom.main([str(wheel.parent)]) == 0
    assert bill(wheel)["bomFormat"] == "CycloneDX"
    source = tmp_path / "x-1.tar.gz"
    source.write_bytes(b"")
    for wrong, said in ((source, "isn't a wheel"), (tmp_path / "what.whl", "Invalid wheel filename")):
        assert sbom.main([str(wrong)]) == 1
        assert said in capsys.readouterr().err


def test_a_wheel_without_libraries(tmp_path: Path) -> None:
    wheel = little_wheels.make(tmp_path)
    said = json.loads(sbom.text_of(distributions.read(wheel)))
    assert said.get("components", []) == []
    assert said["metadata"]["component"]["purl"] == "pkg:pypi/little@1.0"


def test_what_is_no_wheel(tmp_path: Path) -> None:
    path = tmp_path / "little-1.0-py3-none-any.whl"
    path.write_bytes(b"PK")
    assert sbom.main([str(path)]) == 1
    with pytest.raises(ReleaseError):
        _ = distributions.read(path).metadata
