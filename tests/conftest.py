"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from tests import recipe

# The same examples in every run, however slow the machine: a test must not depend on luck.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

REPO = Path(__file__).resolve().parents[1]
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}

os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a script runs in the background has SIGINT ignored, under nohup SIGHUP; so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The chaos test's options."""
    parser.addoption("--kills", type=int, default=25, help="how often tests/chaos kills the recipe")
    parser.addoption("--chaos-seed", type=int, default=13, help="which moments and victims it chooses")


class FileScheduling(LoadFileScheduling):
    """With several processes, a file's tests run in one, and all that share the daemons of a cluster."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/cluster" if file.startswith("tests/cluster/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FileScheduling:
    """Xdist asks for it when ``--numprocesses`` is given."""
    return FileScheduling(config, log)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout."""
    return REPO


@pytest.fixture(scope="session")
def emodb() -> Path:
    """The EMO-DB subset: the folder that SER_EMODB names, or ../shared/corpora/emodb beside the checkout."""
    path = Path(os.environ.get("SER_EMODB", REPO.parent / "shared" / "corpora" / "emodb"))
    if not path.is_dir():
        message = f"EMO-DB is not at {path}; set SER_EMODB to its folder"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path.resolve()


@pytest.fixture(scope="session")
def whisper() -> Path:
    """Whisper base's encoder: the folder that SER_WHISPER names, or the one beside the checkout."""
    default = REPO.parent / "shared" / "pretrained" / "whisper-base-encoder"
    path = Path(os.environ.get("SER_WHISPER", default))
    if not path.is_dir():
        message = f"Whisper base's encoder is not at {path}; set SER_WHISPER to its folder"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path.resolve()


@pytest.fixture(scope="session")
def small_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded corpus, a tenth of its size."""
    out = tmp_path_factory.mktemp("corpus") / "release"
    recipe.make_release(out)
    return out


@pytest.fixture(scope="session")
def finished(repo: Path, small_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all stages of the recipe have run on it; to be read, or copied."""
    folder = tmp_path_factory.mktemp("finished")
    recipe.run_all(repo, folder, small_release)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every connection that leaves this machine."""

    def guarded(connect: Callable[..., object]) -> Callable[..., object]:
        def refuse(self: socket.socket, address: object) -> object:
            local = isinstance(address, tuple) and address[0] in LOCAL_HOSTS
            if self.family != socket.AF_UNIX and not local:
                raise RuntimeError(f"a test must not use the network: {address}")
            return connect(self, address)

        return refuse

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
        yield


@pytest.fixture
def run_verb() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m ser <verb> <arguments>`` as a user does; its exit code and what it printed."""

    def run(verb: str, *args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, "-m", "ser", verb, *map(str, args)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    return run
