"""The recipe on segments of long recordings gives what it gives on a file for each utterance."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.data import tables
from ser.data.validate import validate
from tests import recipe

COMPARED = (
    *(name for name in recipe.RESULTS if name != "fusion.txt"),  # which names folders
    *("phone.frames", "word.frames", "phone_stats.tsv", "attn.ark"),
)


def join(data: Path, top: Path) -> Path:
    """A copy of a data folder's tables in which each speaker is one recording with pauses."""
    wavs, speakers = (tables.read_table(data / name) for name in ("wav.scp", "utt2spk"))
    segments, recordings = {}, {}
    for speaker in sorted(set(speakers.values())):
        parts, done = [], 0
        for utt in [utt for utt in wavs if speakers[utt] == speaker]:
            samples, rate_hz = soundfile.read(wavs[utt], dtype="int16")
            parts += [np.zeros(1117, np.int16), samples]
            done += 1117 + len(samples)
            segments[utt] = f"rec_{speaker} {(done - len(samples)) / rate_hz:.6f} {done / rate_hz:.6f}"
        recordings[f"rec_{speaker}"] = top / f"{speaker}.flac"
        soundfile.write(recordings[f"rec_{speaker}"], np.concatenate(parts), rate_hz, subtype="PCM_16")
    out = top / "data" / "all"
    out.mkdir(parents=True)
    for path in data.iterdir():
        made_later = path.name in (
            "made.json",
            "wav.scp",
            "feats.scp",
            "feats.yaml",
            "utt2num_frames",
            "frame_shift",
        )
        if path.is_file() and not made_later and not path.name.startswith("."):
            shutil.copyfile(path, out / path.name)
    tables.write_table(out / "wav.scp", recordings)
    tables.write_table(out / "segments", segments)
    return out


@pytest.mark.slow
def test_all_numbers_are_those_of_a_file_for_each(
    repo: Path, finished: Path, small_release: Path, tmp_path: Path
) -> None:
    data = join(finished / "data" / "all", tmp_path)
    options = ["--no-feats", "--config", "egs/mini/conf/corpus.yaml", "--features", "conf/fbank.yaml"]
    checked = subprocess.run(
        [sys.executable, "-m", "ser", "validate_data_dir", *options, str(data)],
        cwd=repo,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.stdout, checked.stderr) == (f"{data}: valid, 65 utterances, 10 speakers\n", "")
    done = recipe.run(recipe.command(repo, tmp_path, small_release, "--stage", "1", "--stop-stage", "8"))
    assert done.returncode == 0, done.stderr
    whole, joined = (recipe.contents(top / "exp", *COMPARED) for top in (finished, tmp_path))
    assert whole.keys() == joined.keys()
    assert [name for name in whole if whole[name] != joined[name]] == []
    for path in (tmp_path / "data" / "folds").rglob("utt2spk"):
        validate(path.parent)
