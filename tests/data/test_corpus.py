from __future__ import annotations

from pathlib import Path

import pytest

from ser.data.corpus import CorpusConfig, DevConfig, Protocol, load_corpus
from ser.errors import ConfigError

TEXT = """
name: toy
module: csv
classes: [ang, sad]
labels: {A: ang, S: sad}
audio: {sampling_rate_hz: 16000, channel: null, resample: refuse, on_mixed_rate: warn, on_silent: warn}
keep: {}
protocol: loso
protocols:
  loso: {group: speaker, test: each, dev: {speakers: 2, refit: true}, keep: {}}
  paper: {group: session, test: ["5"], dev: null, keep: {style: [improvised]}}
checks: null
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "corpus.yaml").write_text(TEXT)
    return tmp_path / "corpus.yaml"


def test_the_settings_are_read(path: Path) -> None:
    config = load_corpus(path)
    assert config.classes == ("ang", "sad")
    assert config.named_protocol(None) == ("loso", Protocol("speaker", "each", DevConfig(2, True), {}))
    assert config.named_protocol("paper")[1] == Protocol("session", ("5",), None, {"style": ("improvised",)})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("labels.A=anger", "labels.A: anger is unknown; did you mean ang?; correct it"),
        ("labels={A: ang}", "labels: no label maps to sad; correct it"),
        ("classes=[ang]", "classes must be at least 2, got ang; correct it"),
        ("classes=[ang, sad, ang]", "classes names ang twice; correct it"),
        (
            "classes=[ang, 's d']",
            "classes: the id 's d' has characters other than letters, digits and _.@%+=:,-; correct it",
        ),
        ("protocol=losso", "protocol losso is unknown; did you mean loso?; correct it"),
        (
            "protocols.loso.dev.speakers=0",
            "protocols.loso.dev.speakers must be from 1 to 1000000, got 0; correct it",
        ),
        (
            "protocols.paper.test=[]",
            "protocols.paper.test must be 'each', 'none', or name at least one session; correct it",
        ),
        (
            "protocols.loso.test=none",
            "protocols.loso.dev must be null where test is none, which trains on all; correct it",
        ),
        ("protocols.paper.test=['5','5']", "protocols.paper.test names a session twice: 5; correct it"),
        (
            "protocols.paper.test={a: ['1', '5'], b: ['5']}",
            "protocols.paper.test names a session twice: 5; correct it",
        ),
        (
            "protocols.paper.test={folds: 5}",
            "protocols.paper.test must have the keys folds and seed to be drawn, got folds; correct it",
        ),
        (
            "protocols.paper.test={folds: 1, seed: 1}",
            "protocols.paper.test.folds must be a whole number from 2 to 1000, got 1; correct it",
        ),
        (
            "protocols.paper.group=utterance",
            "protocols.paper.test must be {folds: k, seed: n} where group is utterance; correct it",
        ),
        (
            "protocols.paper={group: utterance, test: {folds: 2, seed: 1}, "
            "dev: {speakers: 1, refit: true}, keep: {}}",
            "protocols.paper.dev must be null where group is utterance; correct it",
        ),
        (
            "protocols.paper.test={a: []}",
            "protocols.paper.test must be 'each', 'none', or name at least one session",
        ),
        ("protocols.paper.test=[5]", "protocols.paper.test[0] must be a string, got 5; correct it"),
        ("keep.style=[]", "keep.style must name at least one value; correct it"),
        ("audio.channel=-1", "audio.channel must be from 0 to 1023, got -1; correct it"),
        ("audio.channel=[]", "audio.channel must name at least one channel; correct it"),
        (
            "audio.channel=left",
            "audio.channel must be a list of a whole number from 0 to 1023 or one of mix or a whole number "
            "from 0 to 1023 or null, got 'left'; correct it",
        ),
        ("audio.sampling_rate_hz=0", "audio.sampling_rate_hz must be from 1 to 768000, got 0; correct it"),
        ("audio.resample=yes", "audio.resample must be one of refuse, convert, got True"),
        ("clases=[a]", "unknown key clases; did you mean classes?"),
    ],
)
def test_settings_that_do_not_fit_are_refused(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_corpus(path, [override])
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(("text", "channel"), [("mix", "mix"), ("[1, 0]", (1, 0)), ("1", 1), ("null", None)])
def test_channels_that_may_be_chosen(path: Path, text: str, channel: object) -> None:
    assert load_corpus(path, [f"audio.channel={text}"]).audio.channel == channel


def test_an_unknown_protocol_names_the_nearest(path: Path) -> None:
    config = load_corpus(path)
    with pytest.raises(ConfigError, match="^--protocol papr is unknown; did you mean paper\\?$"):
        config.named_protocol("papr")
    with pytest.raises(ConfigError, match="^--protocol xyz is unknown; known are all, loso, paper$"):
        config.named_protocol("xyz")


@pytest.mark.parametrize("name", ["corpus.yaml", "corpus_7.yaml"])
def test_the_settings_of_emodb_can_be_used(repo: Path, name: str) -> None:
    config = load_corpus(repo / "egs" / "emodb" / "conf" / name)
    assert isinstance(config, CorpusConfig)
    assert config.name == "emodb"
    assert set(config.protocols) == {"loso", "loso_early"}
    assert config.checks is not None
    assert len(config.classes) == len(config.labels) == len(config.checks["emotion"])
