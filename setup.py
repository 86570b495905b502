"""Metadata of the package ``ser``: ``pip install .``, or ``pip install -e .`` to work on it."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    """The one in ser/__init__.py, read without importing it."""
    text = (HERE / "ser" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    assert match, "ser/__init__.py has lost its __version__"
    return match[1]


def pinned(name: str) -> list[str]:
    """The lines of a requirements file, without their comments."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in (line.partition("#")[0].strip() for line in lines) if line]


setup(
    name="ser",
    version=version(),
    description="Speech emotion recognition with attention: BLSTMATT and CSA, a Kaldi-style recipe",
    packages=find_packages(include=["ser", "ser.*"]),
    package_data={"": ["py.typed", "*.txt", "*.tsv", "*.html", "*.css", "*.js", "models/*/*"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.4",
        "numpy>=1.26",
        "scipy>=1.11",
        "kaldiio>=2.18",
        "lhotse>=1.30",
        "urllib3>=2",  # lhotse 1.33 imports it and does not declare it
        "soundfile>=0.13",
        "pyyaml>=6.0",
        "tqdm>=4.66",
        "tensorboard>=2.16",
        "safetensors>=0.4",
    ],
    extras_require={
        "dev": pinned("requirements-dev.txt"),
        "align": pinned("requirements-align.txt"),
        "baselines": pinned("requirements-baselines.txt"),
        "export": pinned("requirements-export.txt"),
        "interpret": pinned("requirements-interpret.txt"),
        "mini": pinned("requirements-mini.txt"),
        "pretrained": pinned("requirements-pretrained.txt"),
        "report": pinned("requirements-report.txt"),
        "serve": pinned("requirements-serve.txt"),
        "vad": pinned("requirements-vad.txt"),
    },
    entry_points={"console_scripts": ["ser = ser.__main__:main"]},
)
