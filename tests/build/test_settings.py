"""Config settings, recipes and tags: what is understood, and what is said about the rest."""

from __future__ import annotations

import sysconfig

import pytest

from build_backends import settings, tags
from build_backends.build import all_defines
from build_backends.errors import BuildError
from build_backends.recipes import RECIPES
from build_backends.settings import Settings, parse_settings
from build_backends.source import Source


def test_defaults() -> None:
    assert parse_settings(None) == parse_settings({}) == Settings("native", {})


def test_backend_and_definitions() -> None:
    parsed = parse_settings({"backend": "native", "cmake.define.GGML_BLAS": "ON", "cmake.define.X": "a=b"})
    assert parsed == Settings("native", {"GGML_BLAS": "ON", "X": "a=b"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"backend": "cuba"}, "backend=cuba is not known: use one of cpu, cuda, cuda12"),
        (
            {"bakend": "native"},
            "-C bakend is not a setting of llama_ffi: use backend=NAME, arch=LIST or cmake.define.NAME=VALUE",
        ),
        ({"cmake.define.": "ON"}, "is not a setting"),
        ({"cmake.define.A B": "ON"}, "is not a setting"),
        ({"backend": ["native", "native"]}, "given more than once"),
    ],
)
def test_anything_else_is_refused(config, message) -> None:
    with pytest.raises(BuildError, match=message):
        parse_settings(config)


def test_settings_last_for_one_build() -> None:
    with settings.in_use({"cmake.define.A": "1"}):
        assert settings.current().defines == {"A": "1"}
    assert settings.current() == Settings()


def test_the_users_definitions_win_and_the_common_ones_hold(tmp_path) -> None:
    code = Source(tmp_path, "a" * 40, "t", "h", "aaaaaaaaa")
    defines = all_defines(RECIPES["native"], code, {"GGML_NATIVE": "OFF"})
    assert defines["GGML_NATIVE"] == "OFF"
    assert defines["GGML_OPENMP"] == "OFF"
    assert defines["LLAMA_BUILD_COMMIT"] == defines["LLAMA_FFI_TAG"] == "aaaaaaaaa"


def test_every_recipe_says_whether_it_is_for_this_processor() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        # Unsaid, it would depend on SOURCE_DATE_EPOCH.
        if recipe.targets:
            assert recipe.defines["GGML_NATIVE"] == ("ON" if recipe.this_cpu else "OFF")


def test_the_tag_promises_no_more_than_this_machine(monkeypatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "linux-x86_64")
    assert tags.wheel_tag() == "py3-none-linux_x86_64"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "win-arm64")
    assert tags.wheel_tag() == "py3-none-win_arm64"


@pytest.mark.parametrize(
    ("release", "target", "tag"),
    [
        ("14.5.1", "", "macosx_14_0_arm64"),
        ("14.5.1", "13.3", "macosx_14_0_arm64"),
        ("14.5.1", "13.0", "macosx_13_0_arm64"),
        ("15.0", "11", "macosx_11_0_arm64"),
        ("10.15.7", "10.13", "macosx_10_13_arm64"),
    ],
)
def test_macos_tags_have_no_minor_version_from_11_on(monkeypatch, release, target, tag) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("platform.mac_ver", lambda: (release, ("", "", ""), "arm64"))
    monkeypatch.setenv("MACOSX_DEPLOYMENT_TARGET", target)
    assert tags.platform_tag() == tag
