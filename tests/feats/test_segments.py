"""Features of a segment are those of a file of just its samples."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ser.data import tables
from ser.data.corpus import AudioConfig
from ser.data.segments import RecordingSegment
from ser.errors import DataError, StaleError
from ser.feats import audio as reading
from ser.feats import extract
from ser.feats.audio import load_samples
from ser.feats.sets import FeatureSet, load_set
from tests.feats.conftest import make, plain

CONF = Path(__file__).parents[2] / "conf"
AUDIO = AudioConfig(16000, None, "convert")
# recording, start and end in milliseconds, which are whole samples at all rates; None: the recording's end
SEGMENTS: dict[str, tuple[str, int, int | None]] = {
    "a1": ("a", 0, 520),
    "a2": ("a", 440, 1320),
    "a3": ("a", 1320, None),
    "b1": ("b", 360, 1000),
    "b2": ("b", 0, None),
}


def samples(rate_hz: int, channels: int = 1) -> dict[str, npt.NDArray[np.int16]]:
    """Noise that rises and falls, 2 s of recording a and 1 s of b, (N, channels)."""
    random = np.random.default_rng(rate_hz)
    waves = {}
    for name, seconds in {"a": 2, "b": 1}.items():
        shape = (seconds * rate_hz, channels)
        rise = np.abs(np.sin(np.arange(shape[0]) * 5 / rate_hz))[:, None]
        waves[name] = (8000 * rise * random.standard_normal(shape)).clip(-32768, 32767).astype(np.int16)
    return waves


def folders(top: Path, suffix: str, rate_hz: int, channels: int = 1) -> tuple[Path, Path]:
    """A data folder with segments, and one with a file for each."""
    waves = samples(rate_hz, channels)
    whole, cut = top / "whole", top / "cut"
    whole.mkdir()
    cut.mkdir()
    files = {}
    for name, wave in waves.items():
        soundfile.write(top / f"{name}.{suffix}", wave, rate_hz, subtype="PCM_16")
        files[name] = top / f"{name}.{suffix}"
    tables.write_table(whole / "wav.scp", files)
    lines, pieces = {}, {}
    for utt, (name, start, end) in SEGMENTS.items():
        lines[utt] = f"{name} {start / 1000} {-1 if end is None else end / 1000}"
        last = None if end is None else round(end * rate_hz / 1000)
        piece = waves[name][round(start * rate_hz / 1000) : last]
        pieces[utt] = top / f"{utt}.{suffix}"
        soundfile.write(pieces[utt], piece, rate_hz, subtype="PCM_16")
    tables.write_table(whole / "segments", lines)
    tables.write_table(cut / "wav.scp", pieces)
    return whole, cut


def features_of(data: Path, name: str) -> dict[str, npt.NDArray[np.float32]]:
    reader = tables.ArkReader(data / name / "feats.scp")
    return {utt: reader.read(utt) for utt in reader.places}


def check_same(whole: Path, cut: Path, features: FeatureSet, num_jobs: int = 2) -> None:
    for folder in (whole, cut):
        make(folder, features, num_jobs)
    segments, files = (features_of(folder, features.name) for folder in (whole, cut))
    assert list(segments) == list(files) == list(SEGMENTS)
    for utt, values in files.items():
        np.testing.assert_allclose(segments[utt], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000])
def test_filterbank_features_are_those_of_the_piece(tmp_path: Path, suffix: str, rate_hz: int) -> None:
    whole, cut = folders(tmp_path, suffix, rate_hz)
    check_same(whole, cut, load_set(CONF / "fbank.yaml", AUDIO))
    frames = tables.read_table(whole / "fbank" / "utt2num_frames")
    assert frames == tables.read_table(cut / "fbank" / "utt2num_frames")
    assert frames["a1"] == "50"  # 1 + (8320 - 400) // 160


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
@pytest.mark.parametrize("name", ["egemaps", "compare"])
def test_functionals_are_those_of_the_piece(tmp_path: Path, suffix: str, rate_hz: int, name: str) -> None:
    pytest.importorskip("opensmile")
    whole, cut = folders(tmp_path, suffix, rate_hz)
    check_same(whole, cut, load_set(CONF / f"{name}.yaml", AUDIO))


@pytest.mark.parametrize("channel", [1, "mix"])
def test_segments_of_one_channel_or_of_a_mix(tmp_path: Path, channel: Any) -> None:
    whole, cut = folders(tmp_path, "flac", 16000, 2)
    check_same(whole, cut, load_set(CONF / "fbank.yaml", AudioConfig(16000, channel, "refuse")))


def test_a_long_segment_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONG_SAMPLES", 8000)
    monkeypatch.setattr("ser.feats.fbank._BLOCK_FRAMES", 16)
    whole, cut = folders(tmp_path, "wav", 16000, 2)
    features = load_set(
        CONF / "fbank.yaml", AudioConfig(16000, "mix", "refuse"), "none", ["snip_edges=false"]
    )
    check_same(whole, cut, features)
    with reading.open_samples(
        RecordingSegment(tmp_path / "a.wav", 1.0), features.audio, in_blocks=True
    ) as part:
        assert isinstance(part, reading.LongRecording)
        assert len(part) == 16000


def test_only_the_samples_of_the_segments_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = folders(tmp_path, "wav", 16000)
    numbers: list[int] = []
    original = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, frames: int = -1, **more: Any) -> Any:
        values = original(self, frames, **more)
        numbers.append(len(values))
        return values

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    make(whole, load_set(CONF / "fbank.yaml", AUDIO), 1)
    assert numbers == [8320, 14080, 10880, 10240, 16000]


def test_digests_tell_segments_apart(tmp_path: Path) -> None:
    folders(tmp_path, "wav", 16000)
    shutil.copyfile(tmp_path / "a.wav", tmp_path / "copy.wav")

    def digest(name: str, *times: float | None) -> str:
        return RecordingSegment(tmp_path / name, *times).digest()  # type: ignore[arg-type]

    assert digest("a.wav", 0.5, 1.0) == digest("copy.wav", 0.5, 1.0) == digest("a.wav", 0.5, 1.0000000001)
    assert digest("a.wav") == digest("copy.wav", 0.0, None)
    apart = [digest("a.wav"), digest("a.wav", 0.5), digest("a.wav", 0.5, 1.0), digest("b.wav", 0.5, 1.0)]
    assert len(set(apart)) == 4


def test_other_times_are_other_recordings(tmp_path: Path) -> None:
    whole, _ = folders(tmp_path, "wav", 16000)
    features = load_set(CONF / "fbank.yaml", AUDIO)
    make(whole, features, 2)
    make(whole, features, 3)  # up to date
    lines = tables.read_table(whole / "segments")
    tables.write_table(whole / "segments", lines | {"a2": "a 0.44 1.3"})
    with pytest.raises(StaleError) as error:
        extract.make_shard(whole, features, 1, 1, plain)
    assert str(error.value) == (
        f"{whole}/fbank: was made differently: 1 recording changed: a2; choose another data folder, or have "
        f"them made again: rm -r {whole}/fbank"
    )


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((1.0, 2.011), "(1 to 2.011 s): is not in its recording, which lasts 2 s; correct the times"),
        ((2.0, None), "(2 to the end): is not in its recording, which lasts 2 s; correct the times"),
        ((1.0, 1.00001), "(1 to 1.00001 s): has no sample; correct the times"),
    ],
)
def test_times_outside_of_the_recording(tmp_path: Path, times: tuple[float, float], message: str) -> None:
    folders(tmp_path, "wav", 16000)
    with pytest.raises(DataError) as error:
        load_samples(RecordingSegment(tmp_path / "a.wav", *times), AUDIO)
    assert str(error.value) == f"{tmp_path}/a.wav {message}"
    assert len(load_samples(RecordingSegment(tmp_path / "a.wav", 1.5, 2.009), AUDIO)) == 8000


def test_faults_of_a_segment_name_its_times(tmp_path: Path) -> None:
    whole, _ = folders(tmp_path, "wav", 16000)
    tables.write_table(whole / "segments", {"a1": "a 0.5 0.52", "a2": "b 0.0 1.0"})
    with pytest.raises(DataError) as error:
        extract.make_shard(whole, load_set(CONF / "fbank.yaml", AUDIO), 1, 1, plain)
    assert str(error.value) == (
        f"{tmp_path}/a.wav (0.5 to 0.52 s): has 320 samples, fewer than a frame of 400; leave it out where "
        "the corpus is prepared"
    )
    tables.write_table(whole / "segments", {"a1": "c 0.5 0.52", "a2": "b 0.0 1.0"})
    with pytest.raises(DataError) as error:
        extract.make_shard(whole, load_set(CONF / "fbank.yaml", AUDIO), 1, 1, plain)
    assert str(error.value) == (
        f"{whole}/segments:1: a1: wav.scp has no recording c; add it there, or remove the line"
    )


@pytest.mark.slow
def test_jobs_are_counted_by_segments(tmp_path: Path, repo: Path) -> None:
    whole, _ = folders(tmp_path, "wav", 16000)
    done = subprocess.run(
        ["steps/extract.sh", "--nj", "9", "egs/csv/conf/corpus.yaml", str(whole), "conf/fbank.yaml"],
        cwd=repo,
        env={**os.environ, "SER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{whole} holds 5 utterances; --nj 9 becomes 5" in done.stderr
    assert list(tables.read_table(whole / "feats.scp")) == list(SEGMENTS)
