"""Audio and manifests of which no data folder is made, or not of all."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ser.data.corpus import CorpusAudio
from ser.data.corpus_tables import make_data_dir
from ser.data.manifests import count_checks, read_manifests
from ser.data.validate import Summary, validate
from ser.errors import DataError, StaleError
from tests.data.test_datadir import CONFIG, TOY, items, replaced, write


def audio(on_mixed_rate: str = "warn", on_silent: str = "warn") -> CorpusAudio:
    return CorpusAudio(16000, None, "refuse", on_mixed_rate, on_silent)  # type: ignore[arg-type]


def write_silence_or_noise(path: Path, rng: np.random.Generator | None) -> None:
    soundfile.write(path, np.zeros(24000) if rng is None else rng.uniform(-0.1, 0.1, 24000), 16000)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (
            CorpusAudio(8000, None, "refuse", "warn", "warn"),
            "has 16000 Hz, audio.sampling_rate_hz says 8000; set audio.resample to convert",
        ),
        (
            CorpusAudio(16000, 1, "refuse", "warn", "warn"),
            "has 1 channel, so there is no channel 1; set audio.channel to [1, 0] to take 0 of such a one",
        ),
    ],
)
def test_audio_of_another_form_is_refused(
    manifests: Path, tmp_path: Path, audio: CorpusAudio, message: str
) -> None:
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, tmp_path / "all", replaced(CONFIG, audio=audio))
    assert str(error.value).splitlines()[0] == f"{tmp_path}/a-1.wav: {message}"
    assert len(str(error.value).splitlines()) == 3


def test_silent_audio_is_refused_or_left_out(manifests: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, *_ in TOY:
        write_silence_or_noise(tmp_path / f"{name}.wav", None if name == "a-1" else rng)
    out = tmp_path / "data" / "all"
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, out, replaced(CONFIG, audio=audio(on_silent="refuse")))
    assert str(error.value) == (
        f"{manifests}: 1 of 3 utterances has silent audio (a-1); replace the recordings, or set "
        "audio.on_silent to warn or drop"
    )
    assert not out.exists()
    dropping = replaced(CONFIG, audio=audio(on_silent="drop"))
    make_data_dir(manifests, out, dropping)
    assert (out / "left_out").read_text() == "a-1 audio.on_silent\n"
    assert (out / "utt2spk").read_text() == "a-2 a\nb-1 b\n"
    assert (out / "spk2utt").read_text() == "a a-2\nb b-1\n"
    assert validate(out, need=["wav.scp"]) == Summary(2, 2)
    stamp = (out / "made.json").stat().st_mtime_ns
    make_data_dir(manifests, out, dropping)  # the same again
    make_data_dir(manifests, tmp_path / "data" / "warned", CONFIG)
    assert (out / "made.json").stat().st_mtime_ns == stamp
    assert not (tmp_path / "data" / "warned" / "left_out").exists()
    with pytest.raises(
        StaleError, match=r"was made differently: left_out\.a-1: audio\.on_silent -> \(not set\)"
    ):
        make_data_dir(manifests, out, CONFIG)


def test_an_action_that_changes_nothing_makes_nothing_again(manifests: Path, tmp_path: Path) -> None:
    """So a folder of an earlier version, which knew no such settings, stays what it is."""
    rng = np.random.default_rng(0)
    for name, *_ in TOY:
        write_silence_or_noise(tmp_path / f"{name}.wav", rng)
    out = tmp_path / "data" / "all"
    make_data_dir(manifests, out, CONFIG)
    record = (out / "made.json").read_bytes()
    assert b"on_silent" not in record
    make_data_dir(manifests, out, replaced(CONFIG, audio=audio("drop", "refuse")))
    assert (out / "made.json").read_bytes() == record


def test_a_corpus_of_silence_is_not_dropped_as_a_whole(manifests: Path, tmp_path: Path) -> None:
    for name, *_ in TOY:
        write_silence_or_noise(tmp_path / f"{name}.wav", None)
    with pytest.raises(DataError) as error:
        make_data_dir(manifests, tmp_path / "all", replaced(CONFIG, audio=audio(on_silent="drop")))
    assert str(error.value) == (
        f"{manifests}: audio.on_mixed_rate and audio.on_silent drop all 3 utterances (a-1, a-2, b-1); are "
        "these the recordings, and is audio.channel right?"
    )


def test_several_channels_need_a_choice(tmp_path: Path) -> None:
    recordings, supervisions = items(tmp_path)
    recordings[0]["sources"][0]["channels"] = [0, 1]
    folder = write(tmp_path / "manifests", recordings, supervisions)
    with pytest.raises(DataError) as error:
        make_data_dir(folder, tmp_path / "all", CONFIG)
    assert str(error.value) == (
        f"{tmp_path}/b-1.wav: has 2 channels; set audio.channel to the one to use, 0 to 1, or to mix"
    )
    make_data_dir(
        folder, tmp_path / "one", replaced(CONFIG, audio=CorpusAudio(16000, 0, "refuse", "warn", "warn"))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "a 1"}, "the id 'a 1' has characters other than"),
        (
            {"start": 0.5},
            "a-1 cannot be used: it lasts from 0.5 to 2 s, its recording 1.5 s; prepare the corpus again",
        ),
        ({"recording_id": "c-9"}, "a-1: there is no recording 'c-9'; prepare the corpus again"),
        ({"speaker": None}, "a-1 cannot be used: it has no speaker; prepare the corpus again"),
        ({"custom": {}}, "a-1 cannot be used: it has no emotion; prepare the corpus again"),
        ({"id": "a-2", "recording_id": "a-2"}, "a-2 appears twice; keep one of them"),
    ],
)
def test_manifests_that_cannot_be_used_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    recordings, supervisions = items(tmp_path)
    supervisions[2].update(change)
    folder = write(tmp_path / "manifests", recordings, supervisions)
    with pytest.raises(DataError) as error:
        read_manifests(folder)
    assert str(error.value).startswith(f"{folder}/supervisions.jsonl.gz:3: {message}")


def test_damaged_manifests_are_named(manifests: Path) -> None:
    path = manifests / "recordings.jsonl.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="recordings.jsonl.gz: cut short or not gzip"):
        read_manifests(manifests)
    path.write_bytes(gzip.compress(b'{"id": "a"}\n{oops\n'))
    with pytest.raises(DataError, match="recordings.jsonl.gz:2: no manifest entry"):
        read_manifests(manifests)
    path.unlink()
    with pytest.raises(DataError, match="recordings.jsonl.gz: no such file; run stage 0"):
        read_manifests(manifests)


def test_expected_numbers_are_compared(manifests: Path) -> None:
    assert count_checks(read_manifests(manifests), CONFIG) == [
        (True, "ok: emotion A: 2"),
        (False, "differs: emotion X: 1, expected 2"),
        (True, "ok: class sad: 1"),
        (True, "ok: total utterances: 4"),
        (True, "ok: total speakers: 2"),
    ]
