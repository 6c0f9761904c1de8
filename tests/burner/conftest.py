"""One sealed session is built once; every test has a copy of its own."""

import shutil
from pathlib import Path

import pytest

from burner.disc.author import AuthorResult, author
from tests.burner import sessions


@pytest.fixture(scope="session")
def sealed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """storage.root with one sealed and matched session; not to be changed."""
    root = tmp_path_factory.mktemp("sealed") / "数据 root"
    sessions.build(root, tmp_path_factory.mktemp("scratch"))
    return root


@pytest.fixture(scope="session")
def authored(sealed_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AuthorResult]:
    """storage.root of a copy, and the final image of its session; neither is to be changed."""
    copy = tmp_path_factory.mktemp("authored") / "root"
    shutil.copytree(sealed_root, copy)
    out = tmp_path_factory.mktemp("out") / "光盘 1.iso"
    return copy, author(copy / "sessions" / sessions.SESSION, out, language="zh")


@pytest.fixture
def root(sealed_root: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    copy = tmp_path / "数据 root"
    shutil.copytree(sealed_root, copy)
    return copy


@pytest.fixture
def session(root: Path) -> Path:
    """The session's folder in the copy."""
    return root / "sessions" / sessions.SESSION
