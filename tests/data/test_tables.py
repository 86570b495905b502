"""Tables and archives: round trips, an independent decoder, and every refusal with its whole message."""

from __future__ import annotations

import pickle
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ser.data import tables
from ser.data.tables import ArkReader, ArkWriter
from ser.errors import DataError

Array = npt.NDArray[Any]

# ------------------------------------------------------------------------------------------- text tables


def refusal(raw: bytes, folder: Path) -> str:
    path = folder / "t"
    path.write_bytes(raw)
    with pytest.raises(DataError) as error:
        tables.read_table(path)
    return str(error.value).replace(str(path), "t")


def test_a_table_reads_back(tmp_path: Path) -> None:
    table = {"b-1": "hap", "a_1": "über x  y", "B": 3}
    tables.write_table(tmp_path / "t", table)
    assert (tmp_path / "t").read_text("utf-8") == "B 3\na_1 über x  y\nb-1 hap\n"
    assert list(tables.read_table(tmp_path / "t").items()) == [
        ("B", "3"),
        ("a_1", "über x  y"),
        ("b-1", "hap"),
    ]


KEYS = st.text(st.sampled_from("abcXYZ019_.@%+=:,-"), min_size=1).filter(lambda key: key[0] not in ".-")
VALUES = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n", exclude_categories=["Cc", "Z"]), min_size=1
)


@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_any_table_reads_back(tmp_path_factory: pytest.TempPathFactory, table: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("t") / "t"
    tables.write_table(path, table)
    lines = path.read_bytes().splitlines()
    assert lines == sorted(lines, key=lambda line: line.split(b" ")[0])
    assert tables.read_table(path) == table


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "t: is empty; make it, or name another"),
        (b"\xef\xbb\xbfa 1\n", "t:1: starts with a UTF-8 byte order mark; save it without one"),
        (b"a 1\nb 2\r\n", "t:2: has a carriage return; convert it with dos2unix"),
        (b"a 1\nb \xff\n", "t:2: is not UTF-8; save it as UTF-8, for example with iconv"),
        (
            b"a 1\nb 2",
            "t:2: the last line has no newline, the file may be cut short; make it again, or add the newline",
        ),
        (b"a\n", "t:1: expected '<key> <value>', got 'a'; correct the line"),
        (b"a 1\n\nc 1\n", "t:2: expected '<key> <value>', got ''; correct the line"),
        (b"a 1\nb  \n", "t:2: expected '<key> <value>', got 'b  '; correct the line"),
        (b"a 1\na 2\n", "t:2: the key 'a' appears twice; keep one of them"),
        (
            b"b 1\na 2\n",
            "t:2: 'a' comes after 'b', the table is not in byte order; sort it with: LC_ALL=C sort -o t t",
        ),
        (
            b"a;rm 1\n",
            "t:1: the id 'a;rm' has characters other than letters, digits and _.@%+=:,-; "
            "rename it where the corpus is prepared",
        ),
        (
            b"a\t1 x\n",
            "t:1: the id 'a\\t1' has characters other than letters, digits and _.@%+=:,-; "
            "rename it where the corpus is prepared",
        ),
        (
            "ä 1\n".encode(),
            "t:1: the id 'ä' has characters other than letters, digits and _.@%+=:,-; "
            "rename it where the corpus is prepared",
        ),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    assert refusal(raw, tmp_path) == message


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    assert refusal(b"a\nc 1\nb 1\nc 2\n", tmp_path).splitlines() == [
        "t:1: expected '<key> <value>', got 'a'; correct the line",
        "t:3: 'b' comes after 'c', the table is not in byte order; sort it with: LC_ALL=C sort -o t t",
        "t:4: the key 'c' appears twice; keep one of them",
    ]
    many = refusal(b"".join(b"%03d\n" % i for i in range(25)), tmp_path)
    assert many == "t:1: expected '<key> <value>', got '000'; correct the line (25 lines: 1, 2, 3, ...)"


def test_a_missing_table_names_what_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "t"
    for made_by, remedy in (("", "make it, or name another"), ("stage 0", "run stage 0")):
        with pytest.raises(DataError) as error:
            tables.read_table(path, made_by=made_by)
        assert str(error.value) == f"{path}: no such file; {remedy}"
    with pytest.raises(DataError) as error:
        tables.read_table(tmp_path)
    assert str(error.value) == f"{tmp_path}: is a folder where a file is expected; make it, or name another"


@pytest.mark.parametrize("key", ["a b", "a/b", "$(x)", "a'b", "a|b", "a*", "~", "a\n"])
def test_ids_must_be_safe_in_a_shell(key: str) -> None:
    with pytest.raises(DataError) as error:
        tables.check_key(key, "x:1")
    assert str(error.value) == (
        f"x:1: the id {key!r} has characters other than letters, digits and _.@%+=:,-; "
        "rename it where the corpus is prepared"
    )


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("", "is no name"),
        (".", "begins with ."),
        ("..", "begins with ."),
        (".lock", "begins with ."),
        ("-rf", "begins with -"),
        ("a" * 201, "is longer than 200 characters"),
        ("/tmp/victim", "has characters other than letters, digits and _.@%+=:,-"),
    ],
)
def test_ids_must_be_safe_as_file_names(key: str, what: str) -> None:
    with pytest.raises(DataError) as error:
        tables.check_key(key, "x:1")
    end = "... (201 characters)" if len(key) > 200 else ""
    assert str(error.value) == (
        f"x:1: the id {key[:200]!r}{end} {what}; rename it where the corpus is prepared"
    )


def test_values_are_converted_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "t"
    assert tables.convert({"a": "3", "b": "4"}, path, tables.positive_int, "<n>") == {"a": 3, "b": 4}
    assert tables.convert({"a": "0.5"}, path, tables.positive_float, "<s>") == {"a": 0.5}
    for parse, bad in (
        (tables.positive_int, ("0", "1.5", "x")),
        (tables.positive_float, ("0", "-1", "nan", "inf")),
    ):
        for text in bad:
            with pytest.raises(DataError) as error:
                tables.convert({"a": "1", "b": text}, path, parse, "<n>")
            assert str(error.value) == f"{path}:2: expected '<key> <n>', got 'b {text}'; correct the line"


def test_tables_must_have_the_same_keys() -> None:
    tables.same_keys(["a", "b"], "x", ["b", "a"], "y")
    with pytest.raises(DataError) as error:
        tables.same_keys("abcdz", "x", "ze", "y")
    assert str(error.value) == (
        "x: its keys are not those of y: 4 only in x (a, b, c, ...), 1 only in y (e); "
        "run the stage that makes the older of the two again"
    )


def test_vectors_read_back_exactly(tmp_path: Path) -> None:
    vectors = {"a": [0.1, 1 / 3, 1e-300], "b": [1.0, 0.0, -2.5]}
    tables.write_vectors(tmp_path / "post", vectors)
    assert (tmp_path / "post").read_text().splitlines()[1] == "b  [ 1.0 0.0 -2.5 ]"
    assert tables.read_vectors(tmp_path / "post", 3) == vectors
    loaded = dict(kaldiio.load_ark(str(tmp_path / "post")))
    np.testing.assert_allclose(loaded["b"], vectors["b"])


@pytest.mark.parametrize("text", ["[ 1 2 ]", "[ 1 2 x ]", "1 2 3", "[ 1 2 nan ]", "[ 1 2 inf ]", "[ 1 2 3"])
def test_bad_vectors_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "post").write_text(f"a  [ 1 2 3 ]\nb  {text}\n")
    with pytest.raises(DataError) as error:
        tables.read_vectors(tmp_path / "post", 3)
    assert (
        str(error.value)
        == f"{tmp_path}/post:2: expected '<key> [ 3 numbers ]', got 'b {text}'; correct the line"
    )


# ---------------------------------------------------------------------------------------------- archives


def features(frames: int = 50, filters: int = 23, seed: int = 0) -> npt.NDArray[np.float32]:
    """Something like log energies: smooth over time, 5 to 20."""
    rng = np.random.default_rng(seed)
    return (np.cumsum(rng.normal(0, 0.3, (frames, filters)), axis=0) + 12).astype(np.float32)


def write(folder: Path, entries: dict[str, Array], compress: str = "none") -> Path:
    with ArkWriter(folder / "feats", compress) as ark:
        for key, value in entries.items():
            ark.write(key, value)
    return folder / "feats.scp"


def decode(raw: bytes) -> Array:
    """A second decoder of Kaldi's binary objects, written from the description of the bytes alone."""
    assert raw[:2] == b"\0B"
    token, _, rest = raw[2:].partition(b" ")
    if token in (b"FM", b"DM", b"FV", b"DV"):
        kind = np.dtype("<f4" if token[:1] == b"F" else "<f8")
        shape = []
        for _ in range(2 if token[1:] == b"M" else 1):
            assert rest[0] == 4
            shape.append(struct.unpack("<i", rest[1:5])[0])
            rest = rest[5:]
        return np.frombuffer(rest, kind, int(np.prod(shape))).reshape(shape)
    low, span, rows, columns = struct.unpack("<ffii", rest[:16])
    rest = rest[16:]
    if token == b"CM2":
        codes = np.frombuffer(rest, "<u2", rows * columns).reshape(rows, columns)
        return np.asarray(low + codes.astype(np.float64) * span / 65535)
    assert token == b"CM"
    percentiles = low + np.frombuffer(rest, "<u2", 4 * columns).reshape(columns, 4) * (span / 65535)
    codes = np.frombuffer(rest[8 * columns :], "u1", rows * columns).reshape(columns, rows)
    out = np.empty((rows, columns))
    for c in range(columns):
        out[:, c] = np.interp(codes[c], [0, 64, 192, 255], percentiles[c])
    return out


def raw_entry(scp: Path, key: str) -> bytes:
    ark, _, offset = tables.read_table(scp)[key].rpartition(":")
    return Path(ark).read_bytes()[int(offset) :]


@pytest.mark.parametrize(("compress", "tolerance"), [("none", 0.0), ("CM", 0.1), ("CM2", 2e-4)])
def test_features_read_back(tmp_path: Path, compress: str, tolerance: float) -> None:
    entries = {f"utt{i}": features(frames, seed=i) for i, frames in enumerate((1, 2, 3, 4, 5, 9, 300))}
    scp = write(tmp_path, entries, compress)
    reader, loaded = ArkReader(scp), kaldiio.load_scp(str(scp))
    assert list(reader.places) == list(entries)
    for key in reversed(list(entries)):  # random access
        value = reader.read(key, len(entries[key]), 23)
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, entries[key], rtol=0, atol=tolerance)
        np.testing.assert_array_equal(value, loaded[key])
        np.testing.assert_allclose(decode(raw_entry(scp, key)), value, rtol=0, atol=1e-5)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.floats(-50, 50, width=32),
    ),
    st.sampled_from(["CM", "CM2"]),
)
def test_compressed_matrices_stay_in_their_range(
    tmp_path_factory: pytest.TempPathFactory, matrix: Array, compress: str
) -> None:
    scp = write(tmp_path_factory.mktemp("ark"), {"a": matrix}, compress)
    value = ArkReader(scp).read("a")
    np.testing.assert_allclose(decode(raw_entry(scp, "a")), value, rtol=0, atol=1e-4)
    raw = raw_entry(scp, "a")
    assert raw.startswith(b"\0BCM " if compress == "CM" and len(matrix) > 8 else b"\0BCM2 ")
    span = np.ptp(matrix) or 1 + abs(matrix.max())
    worst = span / 100 if raw.startswith(b"\0BCM ") else span / 65535
    np.testing.assert_allclose(value, matrix, rtol=0, atol=worst + 1e-4)


def test_vectors_and_statistics_are_never_compressed(tmp_path: Path) -> None:
    entries: dict[str, Array] = {
        "attn": np.array([0.25, 0.75], np.float32),
        "stats": np.array([[1e9 + 1 / 3, 2], [3, 0]], np.float64),
    }
    scp = write(tmp_path, {"attn": entries["attn"]}, "CM")
    np.testing.assert_array_equal(ArkReader(scp).read("attn"), entries["attn"])
    scp = write(tmp_path, {"stats": entries["stats"]})
    assert ArkReader(scp).read("stats").dtype == np.float64
    np.testing.assert_array_equal(ArkReader(scp).read("stats"), entries["stats"])


def test_the_bytes_are_kaldis(tmp_path: Path) -> None:
    scp = write(tmp_path, {"ab": np.array([[1.0, 2.0]], np.float32), "c": np.array([3.0], np.float64)})
    expected = b"ab \0BFM \4" + struct.pack("<i", 1) + b"\4" + struct.pack("<i", 2) + struct.pack("<2f", 1, 2)
    expected += b"c \0BDV \4" + struct.pack("<i", 1) + struct.pack("<d", 3)
    assert (tmp_path / "feats.ark").read_bytes() == expected
    offset = expected.index(b"c \0B") + 2
    assert scp.read_text() == f"ab {tmp_path}/feats.ark:3\nc {tmp_path}/feats.ark:{offset}\n"


def test_others_archives_are_read(tmp_path: Path) -> None:
    """Written by kaldiio: a text archive, CM3, and an scp with a range of rows."""
    matrix = features(12, 4)
    kaldiio.save_ark(
        str(tmp_path / "x.ark"), {"a": matrix}, scp=str(tmp_path / "x.scp"), compression_method=5
    )
    np.testing.assert_allclose(ArkReader(tmp_path / "x.scp").read("a"), matrix, atol=np.ptp(matrix) / 255)
    kaldiio.save_ark(str(tmp_path / "t.ark"), {"a": matrix}, scp=str(tmp_path / "t.scp"), text=True)
    np.testing.assert_allclose(ArkReader(tmp_path / "t.scp").read("a"), matrix, rtol=1e-5)
    scp = write(tmp_path, {"a": matrix})
    scp.write_text(scp.read_text().replace("\n", "[2:4]\n"))
    np.testing.assert_array_equal(ArkReader(scp).read("a", 3), matrix[2:5])


def test_a_reader_can_be_pickled_and_keeps_few_files_open(tmp_path: Path) -> None:
    scps = []
    for i in range(70):
        (tmp_path / str(i)).mkdir()
        scps.append(write(tmp_path / str(i), {f"u{i:02}": features(3, seed=i)}).read_text())
    (tmp_path / "all.scp").write_text("".join(scps))
    reader = ArkReader(tmp_path / "all.scp")
    for i in (*range(70), 0):
        np.testing.assert_array_equal(reader.read(f"u{i:02}"), features(3, seed=i))
    assert len(reader._files) <= 64
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again.read("u05"), features(3, seed=5))


def fault(scp: Path, *args: int) -> str:
    with pytest.raises(DataError) as error:
        ArkReader(scp, made_by="stage 1").read("a", *args)
    return str(error.value).replace(str(scp.parent), "D")


def test_broken_archives_are_refused(tmp_path: Path) -> None:
    scp = write(tmp_path, {"a": features(50)})
    ark = tmp_path / "feats.ark"
    assert fault(scp, 49) == (
        "D/feats.scp: a: D/feats.ark:2: has 50 frames, utt2num_frames says 49; run stage 1 again"
    )
    assert fault(scp, 50, 40) == (
        "D/feats.scp: a: D/feats.ark:2: has 23 values a frame, expected 40; run stage 1 again"
    )
    cut_short = "D/feats.scp: a: D/feats.ark:2: cut short or not a Kaldi archive; run stage 1 again"
    whole = ark.read_bytes()
    for length in (0, 2, 3, 4, 5, 6, 7, 8, 12, 17, 20, 100, len(whole) - 4, len(whole) - 1):
        ark.write_bytes(whole[:length])
        assert fault(scp) == cut_short, length
    ark.unlink()
    assert fault(scp) == "D/feats.scp: a: D/feats.ark:2: no such file; run stage 1 again"


@pytest.mark.parametrize("compress", ["CM", "CM2"])
def test_compressed_archives_that_are_cut_short(tmp_path: Path, compress: str) -> None:
    scp = write(tmp_path, {"a": features(50)}, compress)
    ark = tmp_path / "feats.ark"
    whole = ark.read_bytes()
    for length in (*range(2, 40), len(whole) - 1):
        ark.write_bytes(whole[:length])
        assert (
            fault(scp) == "D/feats.scp: a: D/feats.ark:2: cut short or not a Kaldi archive; run stage 1 again"
        )


class Evil:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("start", [b"", b" ", b"\0B"])
def test_nothing_is_unpickled(tmp_path: Path, start: bytes) -> None:
    witness = tmp_path / "witness"
    (tmp_path / "x.ark").write_bytes(b"a " + start + b"PKL" + pickle.dumps(Evil(witness)))
    (tmp_path / "x.scp").write_text(f"a {tmp_path}/x.ark:2\n")
    assert fault(tmp_path / "x.scp") == (
        "D/x.scp: a: D/x.ark:2: cut short or not a Kaldi archive; run stage 1 again"
    )
    assert not witness.exists()


@pytest.mark.filterwarnings("ignore:loadtxt:UserWarning")
@pytest.mark.parametrize("text", [b" [ x y ]\n", b" [ 1 2\n", b" [ ]\n", b" [ 1 2\n 3 ]\n", b" [ 1 \xff ]\n"])
def test_text_archives_that_are_no_numbers(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.ark").write_bytes(b"a " + text)
    (tmp_path / "x.scp").write_text(f"a {tmp_path}/x.ark:2\n")
    assert fault(tmp_path / "x.scp") == (
        "D/x.scp: a: D/x.ark:2: cut short or not a Kaldi archive; run stage 1 again"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_is_never_written(tmp_path: Path, bad: float) -> None:
    value = features(5)
    value[2, 3] = bad
    with pytest.raises(DataError) as error:
        write(tmp_path, {"a": features(5), "b": value})
    assert str(error.value) == (
        f"{tmp_path}/feats.ark: b: empty, NaN or infinite values cannot be written; correct what they are "
        "made of"
    )
    with pytest.raises(DataError):
        write(tmp_path, {"a": np.empty((0, 23), np.float32)})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        ArkWriter(tmp_path / "feats", "zip")
    assert str(error.value) == "--compress zip: unknown; take one of none, CM, CM2"


@contextmanager
def small_disk(num_bytes: int) -> Iterator[None]:
    """Every write beyond ``num_bytes`` of a file fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error, small_disk(30_000):
        write(tmp_path, {f"u{i}": features(100) for i in range(9)})
    assert str(error.value) == (
        f"{tmp_path}/feats.ark: cannot be written (File too large); free some space or choose another "
        "folder, then run the same command again"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rewrite_leaves_the_old_archive(tmp_path: Path) -> None:
    scp = write(tmp_path, {"a": features(50)})
    with pytest.raises(DataError), small_disk(30_000):
        write(tmp_path, {f"u{i}": features(100) for i in range(9)})
    np.testing.assert_array_equal(ArkReader(scp).read("a"), features(50))

    def fail() -> None:
        with ArkWriter(tmp_path / "feats") as ark:
            ark.write("b", features(3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    np.testing.assert_array_equal(ArkReader(scp).read("a"), features(50))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feats.ark", "feats.scp"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_not_read(tmp_path: Path, value: float) -> None:
    """Whoever wrote it: features, statistics or attention."""
    scp = write(tmp_path, {"a": np.ones((2, 3), np.float32), "b": np.full((2, 3), 7.0, np.float32)})
    ark = tmp_path / "feats.ark"
    content = ark.read_bytes()
    ark.write_bytes(content[:-4] + np.float32(value).tobytes())
    reader = ArkReader(scp, made_by="stage 1")
    assert reader.read("a").shape == (2, 3)
    with pytest.raises(DataError) as error:
        reader.read("b")
    assert str(error.value) == (
        f"{scp}: b: {reader.places['b']}: holds NaN or infinite values; run stage 1 again"
    )
