"""The pin file: complete, valid, and refused by the name of the key when it is not."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from vendor import pin
from vendor.pin import PIN_FILE, PinError, load_pin


def test_the_pin_is_valid() -> None:
    loaded = load_pin()
    assert loaded.commit in loaded.archive.url
    assert loaded.commit in loaded.archive.prefix
    assert loaded.index.prefix.startswith(loaded.index.filename.removesuffix(".tar.gz") + "/")
    assert loaded.index.version in loaded.index.filename


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("commit = ", "kommit = ", "llama_cpp.commit is missing"),
        ("size = 76589250", 'size = "76589250"', "index.size"),
        ('sha256 = "832d', 'sha256 = "832', "index.sha256"),
        ('filename = "', 'filename = "../', "index.filename"),
        ('url = "https', 'url = "http', "archive.url"),
        ("[archive]", "[home]", "archive.url is missing"),
    ],
)
def test_a_wrong_pin_names_the_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    text = PIN_FILE.read_text()
    assert old in text
    file = tmp_path / "PIN.toml"
    file.write_text(text.replace(old, new))
    with pytest.raises(PinError, match=key):
        load_pin(file)


def test_a_pin_that_is_not_toml_says_where(tmp_path: Path) -> None:
    file = tmp_path / "PIN.toml"
    file.write_text("[llama_cpp\n")
    with pytest.raises(PinError, match=r"PIN\.toml.*line 1"):
        load_pin(file)


def test_python_310_reads_it_with_tomli(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module
    wanted: list[str] = []

    def without_tomllib(name: str) -> Any:
        wanted.append(name)
        if name in ("tomllib", "tomli"):
            raise ImportError(name)
        return real("tomllib" if name == "pip._vendor.tomli" else name)

    monkeypatch.setattr(pin.importlib, "import_module", without_tomllib)
    assert load_pin().files > 0
    assert wanted == ["tomllib", "tomli", "pip._vendor.tomli"]


def test_no_file_names_a_package_index() -> None:
    root = Path(__file__).resolve().parents[2]
    hosts = ("pypi" + ".org", "python" + "hosted.org")
    files = [root / "pyproject.toml", *(root / "vendor").rglob("*"), *(root / "build_backends").rglob("*")]
    for file in files:
        if file.is_file() and file.suffix in (".py", ".toml", ".txt", ".md"):
            assert not any(host in file.read_text(encoding="utf-8") for host in hosts), file
