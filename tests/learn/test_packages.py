"""Packages are read as model folders are; what is none is refused, and nothing of it is unpacked."""

from __future__ import annotations

import hashlib
import json
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ser.errors import CheckpointError
from ser.learn import packages
from ser.learn.models import load_model
from tests.fuzz.readers import make_model

Edit = Callable[[zipfile.ZipFile], object]


def members_of(folder: Path, **changes: object) -> dict[str, bytes]:
    """The members of a package of a small model, with other values in its config.json."""
    make_model(folder)
    record = json.loads((folder / "model.json").read_text())
    return {
        "config.json": json.dumps(record | changes).encode(),
        "model.safetensors": (folder / "model.safetensors").read_bytes(),
        "README.md": b"# card\n",
    }


def calibration(**changes: object) -> bytes:
    return json.dumps({"format": 1, "emotions": ["ang", "sad"], "temperature": 0.5} | changes).encode()


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}")
    return str(error.value).removeprefix(f"{path}")


def write(path: Path, members: dict[str, bytes], edit: Edit, compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip file that somebody else made."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, content in members.items():
            archive.writestr(name, content)
        edit(archive)
    return path


def test_a_package_its_folder_and_the_model_folder_are_one_model(tmp_path: Path) -> None:
    tempered = calibration()
    digest = hashlib.sha256(tempered).hexdigest()
    members = members_of(tmp_path / "model", calibration=digest) | {"calibration.json": tempered}
    packages.write_package(tmp_path / "a.zip", members)
    packages.write_package(tmp_path / "b.zip", dict(reversed(members.items())))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    write(tmp_path / "deflated.zip", members, lambda _: None, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    first = load_model(tmp_path / "model")
    assert first.calibration is None
    for place in ("a.zip", "deflated.zip", "unpacked"):
        model = load_model(tmp_path / place)
        assert model.arrays.keys() == first.arrays.keys()
        assert all(np.array_equal(model.arrays[name], first.arrays[name]) for name in first.arrays)
        assert (model.emotions, model.sets, model.settings) == (first.emotions, first.sets, first.settings)
        assert model.calibration is not None
        assert model.calibration.apply(np.array([0.8, 0.2])) == pytest.approx([16 / 17, 1 / 17], abs=1e-12)
        assert model.network.training is False


def symlink(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("LICENSE")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/passwd")


def locked(archive: zipfile.ZipFile) -> None:
    archive.writestr("LICENSE", "cc0")
    archive.infolist()[-1].flag_bits |= 1


AGAIN = "get the package again"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda a: a.writestr("../evil", ""), "has the member '../evil', which would leave the package"),
        (lambda a: a.writestr("/etc/evil", ""), "has the member '/etc/evil', which would leave the package"),
        (lambda a: a.writestr("evil.py", ""), "has the member 'evil.py', which belongs to no package"),
        (lambda a: a.writestr("config.json", "{}"), "has the member config.json twice"),
        (symlink, "its member LICENSE is no regular file, but a link or a device"),
        (locked, "its member LICENSE is encrypted, or neither stored nor deflated"),
        (
            lambda a: a.writestr("LICENSE", "cc0", zipfile.ZIP_BZIP2),
            "its member LICENSE is encrypted, or neither stored nor deflated",
        ),
        (
            lambda a: a.writestr("LICENSE", bytes(1 << 20), zipfile.ZIP_DEFLATED),
            "its member LICENSE would expand more than 100 times; none of a model does",
        ),
        (
            lambda a: a.writestr("LICENSE", bytes((1 << 20) + 1)),
            "its member LICENSE has 1048577 bytes, it may have 1048576",
        ),
        (lambda a: [a.writestr(f"x{n}", "") for n in range(9)], "has 12 members; a package has 5 at most"),
        (
            lambda a: setattr(a, "comment", b"hello"),
            "is no package: a zip file without comment that ends where it should",
        ),
    ],
)
def test_what_belongs_to_no_package_is_refused(tmp_path: Path, edit: Edit, message: str) -> None:
    path = write(tmp_path / "a.zip", members_of(tmp_path / "model"), edit)
    before = sorted(tmp_path.rglob("*"))
    assert refusal(path) == f": {message}; {AGAIN}"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_package_that_lacks_something_or_is_no_zip_file(tmp_path: Path) -> None:
    members = members_of(tmp_path / "model")
    config = members.pop("config.json")
    path = write(tmp_path / "a.zip", members, lambda _: None)
    assert refusal(path) == f": has no config.json, which a package needs; {AGAIN}"
    whole = write(tmp_path / "b.zip", members | {"config.json": config}, lambda _: None).read_bytes()
    end = "is no package: a zip file without comment that ends where it should"
    for content in (b"", b"no zip", whole[:-9]):
        path.write_bytes(content)
        assert refusal(path) == f": {end}; {AGAIN}"
    path.write_bytes(whole.replace(b"# card", b"# CARD"))  # the check sum of a member that is not read
    assert load_model(path).emotions == ("ang", "sad")
    path.write_bytes(whole[:-22].replace(b'"ang"', b'"gna"', 1) + whole[-22:])
    assert refusal(path) == f": is damaged (Bad CRC-32 for file 'config.json'); {AGAIN}"


def test_digests_versions_and_calibrations_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"

    def packed(members: dict[str, bytes]) -> Path:
        packages.write_package(path, members)
        return path

    good = members_of(tmp_path / "model")
    newer = members_of(tmp_path / "model", format=9)
    text = "is of a newer version (format 9, this one reads 2); update ser"
    assert refusal(packed(newer)) == f"/config.json: {text}"
    text = "is cut short, damaged, or not the weights of config.json beside it"
    assert refusal(packed(good | {"model.safetensors": b"x"})) == f"/model.safetensors: {text}; {AGAIN}"
    text = "is damaged, or not the calibration of this model"
    other = good | {"calibration.json": calibration()}
    assert refusal(packed(other)) == f"/calibration.json: {text}; {AGAIN}"
    promised = members_of(tmp_path / "model", calibration="00")
    assert refusal(packed(promised)) == f": has no calibration.json; {AGAIN}"
    for content, text in (
        (b"[", "is no calibration (Expecting value: line 1 column 2 (char 1))"),
        (calibration(format=2), "is no calibration that this version of ser reads"),
        (calibration(emotions=["sad", "ang"]), "is a calibration of other classes than the model's"),
        (calibration(temperature=0), "has no temperature from 0.01 to 100"),
        (calibration(temperature="hot"), "has no temperature from 0.01 to 100"),
    ):
        digest = hashlib.sha256(content).hexdigest()
        members = members_of(tmp_path / "model", calibration=digest) | {"calibration.json": content}
        assert refusal(packed(members)) == (
            f"/calibration.json: {text}; make it again with ser calibrate, or remove it"
        )


def test_a_package_that_names_code_is_refused(tmp_path: Path) -> None:
    members = members_of(tmp_path / "model")
    record = json.loads(members["config.json"])
    record["settings"]["system"] = "stranger:SYSTEM"
    packages.write_package(tmp_path / "a.zip", members | {"config.json": json.dumps(record).encode()})
    assert refusal(tmp_path / "a.zip") == (
        "/config.json: its system is code outside this package, stranger:SYSTEM, which loading would run; if "
        "you trust it, allow it by name: --allow-code stranger:SYSTEM"
    )
