"""The summary of corpora whose faults are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import soundfile

from ser.data import tables
from ser.data.corpus import CorpusAudio, CorpusConfig, Protocol
from ser.data.corpus_summary import SUMMARY, Fact, read_summary, show, summarise, text
from ser.data.labels import write_emotions
from ser.errors import DataError

RATE = 16000


def config(on_mixed_rate: str = "warn", on_silent: str = "warn", channel: int | None = None) -> CorpusConfig:
    audio = CorpusAudio(RATE, channel, "convert", on_mixed_rate, on_silent)  # type: ignore[arg-type]
    loso = Protocol("speaker", "each", None, {})
    return CorpusConfig(
        "toy", "csv", ("ang", "sad"), {"A": "ang", "S": "sad"}, audio, {}, "loso", {"loso": loso}, None
    )


class Folder:
    """A data folder of own tables, with four utterances of each of some speakers, a second each."""

    def __init__(self, top: Path, speakers: str = "abcd", rate_hz: int = RATE) -> None:
        self.data = top / "data" / "all"
        self.audio = top / "audio"
        self.rng = np.random.default_rng(0)
        self.utt2spk: dict[str, str] = {}
        self.utt2emo: dict[str, str] = {}
        self.wavs: dict[str, Path] = {}
        for speaker in speakers:
            for emotion in ("ang", "sad"):
                for number in (1, 2):
                    self.add(f"{speaker}-{emotion}{number}", self.noise(rate_hz), emotion, rate_hz)

    def noise(self, number: int) -> np.ndarray:
        """A square wave of random signs, -20 dBFS."""
        return 0.1 * self.rng.choice([-1.0, 1.0], number)

    def add(
        self, name: str, samples: np.ndarray, emotion: str, rate_hz: int = RATE, suffix: str = "wav"
    ) -> None:
        self.audio.mkdir(exist_ok=True)
        self.wavs[name] = self.audio / f"{name}.{suffix}"
        soundfile.write(self.wavs[name], samples, rate_hz)
        self.utt2spk[name], self.utt2emo[name] = name[0], emotion

    def write(self) -> Path:
        self.data.mkdir(parents=True, exist_ok=True)
        contents: Mapping[str, Mapping[str, object]] = {
            "utt2spk": self.utt2spk, "utt2emo": self.utt2emo, "wav.scp": self.wavs,
        }  # fmt: skip
        for name, table in contents.items():
            tables.write_table(self.data / name, table)
        write_emotions(self.data / "emotions.txt", ("ang", "sad"))
        return self.data


def warnings(facts: list[Fact]) -> dict[str, str]:
    return {fact.fact: fact.warning for fact in facts if fact.warning}


def test_a_sound_corpus_has_nothing_to_tell(tmp_path: Path) -> None:
    data = Folder(tmp_path).write()
    facts = summarise(data, config(), 2)
    assert facts == [
        Fact("utterances", "16 of 4 speakers, 0.3 minutes"),
        Fact("durations", "shortest 1.00 s, median 1.00 s, longest 1.00 s"),
        Fact("sampling rate", "16000 Hz"),
        Fact("channels", "1"),
        Fact("formats", "WAV PCM_16"),
        Fact("levels", "median -20.0 dBFS, -20.0 to -20.0; highest peak -20.0"),
        Fact("silent", "none below -70 dBFS"),
        Fact("clipped", "none"),
        Fact("copies", "none"),
        Fact("class ang", "8: a 2, b 2, c 2, d 2"),
        Fact("class sad", "8: a 2, b 2, c 2, d 2"),
    ]
    assert read_summary(data) == facts
    (data.parent / SUMMARY).unlink()
    assert read_summary(data) == []


def test_many_speakers_are_counted(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "abcdefg")
    folder.add("a-ang3", folder.noise(RATE), "ang")
    assert summarise(folder.write(), config())[-2:] == [
        Fact("class ang", "15: 7 of 7 speakers, 2 to 3 each"),
        Fact("class sad", "14: 7 of 7 speakers, 2 each"),
    ]


def test_what_is_suspicious_is_counted_and_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    sound = folder.noise(RATE)
    folder.add("a-low", folder.noise(8000), "ang", 8000)
    folder.add("a-zero", np.zeros(RATE), "ang")
    folder.add("b-faint", sound / 1000, "ang")
    folder.add("b-clip", np.clip(20 * np.sin(np.arange(RATE) / 9), -1, 1), "ang")
    folder.add("c-other", np.stack([np.zeros(RATE), sound], 1), "ang")
    folder.add("c-short", sound[:1600], "sad")
    folder.add("c-long", np.tile(sound, 61) * 0.9, "sad")
    for name in ("d-copy", "d-copy2"):
        folder.add(name, soundfile.read(folder.wavs["d-ang1"])[0], "ang", suffix="flac")
    folder.add("d-wrong", soundfile.read(folder.wavs["a-sad1"])[0], "sad")
    facts = summarise(folder.write(), config(channel=0))
    assert warnings(facts) == {
        "durations": "1 shorter than 0.2 s (c-short), 1 longer than 60 s (c-long): is each one utterance, "
        "and whole?",
        "sampling rate": "1 of 26 utterances has a lower sampling rate than the others (a-low): above 4000 "
        "Hz their filters hold next to nothing, some 5 log units less; set audio.sampling_rate_hz to 8000, "
        "which all have, or audio.on_mixed_rate to refuse or drop",
        "channels": "1 of 26 utterances has silence on what is read, and sound on another "
        "(c-other); set audio.channel",
        "silent": "3 of 26 utterances have silent audio (a-zero, b-faint, c-other): nothing can be learnt "
        "from it, and a decision on it is a guess; replace the recordings, or set audio.on_silent to refuse "
        "or drop",
        "clipped": "1 of 26 utterances has clipped samples, 3 or more at full scale in a row (b-clip): are "
        "the recordings distorted?",
        "copies": "1 recording under several names (d-ang1 = d-copy = d-copy2): what is said of it counts "
        "more than once; keep one of each. 1 recording under several names, of several speakers or classes "
        "(a-sad1 = d-wrong): all but one of them are wrong; keep one of each",
    }
    values = {fact.fact: fact.value for fact in facts}
    assert values["sampling rate"] == "25 of 16000 Hz, 1 of 8000 Hz"
    assert values["channels"] == "25 of 1, 1 of 2 (channel 0 is read)"
    assert values["formats"] == "24 of WAV PCM_16, 2 of FLAC PCM_16"
    assert values["silent"] == "3 below -70 dBFS, 2 of them without any signal"
    assert values["copies"] == "3 utterances with the audio of another"
    assert values["levels"] == "median -20.0 dBFS, -inf to -0.1; highest peak 0.0"


def test_a_corpus_of_a_lower_rate_is_told_of_once(tmp_path: Path) -> None:
    """It is not mixed: nothing is refused or dropped."""
    data = Folder(tmp_path, rate_hz=8000).write()
    assert warnings(summarise(data, config("refuse", "refuse"))) == {
        "sampling rate": "all have 8000 Hz, audio.sampling_rate_hz is 16000: above 4000 Hz the filters hold "
        "next to nothing; set audio.sampling_rate_hz to 8000"
    }


def test_higher_rates_are_not_mixed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.add("a-high", folder.noise(48000), "ang", 48000)
    facts = summarise(folder.write(), config("refuse"))
    assert warnings(facts) == {}
    assert facts[2].value == "16 of 16000 Hz, 1 of 48000 Hz"


def test_a_class_of_few_speakers(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name in folder.utt2emo:
        if name[0] != "b":
            folder.utt2emo[name] = "ang"
    assert warnings(summarise(folder.write(), config())) == {
        "class sad": "class sad: only 1 speaker of 4 has it (b): folds may lack it"
    }


@pytest.mark.parametrize(
    ("setting", "what", "named"),
    [
        ("on_silent", "2 of 19 utterances have silent audio", "a-zero1, a-zero2"),
        ("on_mixed_rate", "1 of 19 utterances has another sampling rate than the others", "a-low"),
    ],
)
def test_own_tables_may_not_hold_what_a_setting_forbids(
    tmp_path: Path, setting: str, what: str, named: str
) -> None:
    folder = Folder(tmp_path)
    for number in (1, 2):
        folder.add(f"a-zero{number}", np.zeros(RATE), "ang")
    folder.add("a-low", folder.noise(8000), "ang", 8000)
    data = folder.write()
    with pytest.raises(DataError) as error:
        summarise(data, config(**{setting: "refuse"}))
    assert str(error.value) == (
        f"{data}: {what} ({named}); replace the recordings, or set audio.{setting} to warn or drop"
    )
    with pytest.raises(DataError) as error:
        summarise(data, config(**{setting: "drop"}))
    assert str(error.value) == (
        f"{data}: audio.{setting} is drop, but the tables hold {named.count('-')} such utterances ({named}); "
        "remove their lines, or make the folder again with stage 0"
    )


def test_what_stage_0_left_out_is_told(tmp_path: Path) -> None:
    data = Folder(tmp_path).write()
    names = ("x-1", "x-2", "x-3", "x-4")
    tables.write_table(data / "left_out", dict.fromkeys(names, "audio.on_silent"))
    assert summarise(data, config(on_silent="drop"))[1] == Fact(
        "left out",
        "4 by audio.on_silent",
        "4 utterances left out by audio.on_silent, which is drop (x-1, x-2, x-3, ...)",
    )


def test_the_text_fits_a_narrow_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(tmp_path)
    folder.add("a-zero", np.zeros(RATE), "ang")
    data = folder.write()
    show(data, config())
    assert capsys.readouterr().out == (
        f"corpus toy: {data}\n"
        "  utterances    17 of 4 speakers, 0.3 minutes\n"
        "  durations     shortest 1.00 s, median 1.00 s, longest 1.00 s\n"
        "  sampling rate 16000 Hz\n"
        "  channels      1\n"
        "  formats       WAV PCM_16\n"
        "  levels        median -20.0 dBFS, -inf to -20.0; highest peak -20.0\n"
        "! silent        1 below -70 dBFS, all without any signal\n"
        "  clipped       none\n"
        "  copies        none\n"
        "  class ang     9: a 3, b 2, c 2, d 2\n"
        "  class sad     8: a 2, b 2, c 2, d 2\n"
    )
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith(f"{data}: 1 of 17 utterances has silent audio (a-zero): nothing")
    lines = text(
        [Fact("formats", "a word " * 30), Fact("a fact of a long name", "x", "!")], "title"
    ).splitlines()
    assert max(map(len, lines)) <= 78
    assert [line[:16].strip() for line in lines] == ["title", "formats", "", "", "", "! a fact of a lo"]


def test_a_second_time_nothing_is_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    data = folder.write()
    facts = summarise(data, config())
    stamp = (data.parent / "levels.tsv").stat().st_mtime_ns
    assert summarise(data, config()) == facts
    assert (data.parent / "levels.tsv").stat().st_mtime_ns == stamp


def test_the_verb(tmp_path: Path, run_verb: Callable[..., CompletedProcess[str]], repo: Path) -> None:
    folder = Folder(tmp_path)
    folder.add("a-zero", np.zeros(RATE), "ang")
    data = folder.write()
    conf = ("--config", repo / "egs" / "csv" / "conf" / "corpus.yaml")
    result = run_verb("summarise_corpus", data, *conf)
    assert result.returncode == 0
    assert result.stdout.startswith(f"corpus csv: {data}\n  utterances    17 of 4 speakers")
    assert f" warning: {data}: 1 of 17 utterances has silent audio (a-zero)" in result.stderr
    result = run_verb("summarise_corpus", data, *conf, "--set", "audio.on_silent=refuse")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"ser: error: {data}: 1 of 17 utterances has silent audio (a-zero); replace the recordings, or set "
        "audio.on_silent to warn or drop\n"
    )
    result = run_verb("summarise_corpus", tmp_path / "none", *conf)
    assert result.stderr == f"ser: error: {tmp_path}/none/wav.scp: no such file; run stage 0\n"
