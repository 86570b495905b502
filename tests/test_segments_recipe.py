"""The recipe on segments of long recordings gives what it gives on a file for each utterance."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import soundfile

from ser.data import tables
from ser.data.validate import Summary, validate
from tests import recipe

COMPARED = ("post", "hyp", "result.txt", "history.tsv", "attn.ark")


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
    repo: Path,
    finished: Path,
    small_release: Path,
    tmp_path: Path,
    run_verb: Callable[..., CompletedProcess[str]],
) -> None:
    data = join(finished / "data" / "all", tmp_path)
    assert validate(data, need=["wav.scp"]) == Summary(65, 10)
    line = recipe.command(repo, tmp_path, small_release, "--stage", "1", "--stop-stage", "6")
    done = recipe.run(line)
    assert done.returncode == 0, done.stderr
    whole, joined = (recipe.contents(top / "exp", *COMPARED) for top in (finished, tmp_path))
    assert len(joined) > 10
    assert [name for name in joined if whole.get(name) != joined[name]] == []
    for path in (tmp_path / "data" / "folds").rglob("utt2spk"):
        validate(path.parent)
    out = tmp_path / "alignment"
    done = run_verb("make_alignment", data, data, out, cwd=repo / "egs" / "mini")
    assert done.returncode == 0, done.stderr
    for tier in ("phone", "word"):
        made = (finished / "exp" / "alignments" / "corpus" / f"{tier}.frames").read_bytes()
        assert (out / f"{tier}.frames").read_bytes() == made
