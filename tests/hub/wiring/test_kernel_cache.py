"""Compiled kernels belong to exactly the sources they came from."""

from pathlib import Path

import pytest

from hub.wiring import kernels


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kernel_package"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Kernels."""\n')
    (folder / "one.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(kernels, "PACKAGES", ("kernel_package",))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return folder


def test_an_edit_of_any_module_gets_another_cache(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kernels.use_cache(tmp_path / "cache")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert kernels.use_cache(tmp_path / "cache") == first
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    (package / "one.py").write_text("A = 2\n")
    assert kernels.use_cache(tmp_path / "cache") != first


def test_a_cache_chosen_outside_stays(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    assert kernels.use_cache(tmp_path / "cache") == tmp_path / "mine"


def test_other_states_are_dropped(package: Path, tmp_path: Path) -> None:
    cache = kernels.use_cache(tmp_path / "cache")
    for name in (cache.name, "0123456789abcdef"):
        (cache.parent / name).mkdir(parents=True)
    kernels.drop_others(cache)
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
