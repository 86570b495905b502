"""Feature sets: as a file asks for them, as a folder has them, and with extractors of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser import config
from ser.data import tables
from ser.data.corpus import AudioConfig
from ser.data.datadir import make_view
from ser.errors import ConfigError, DataError, StaleError
from ser.feats import extract
from ser.feats.base import ONE_SCALE, Layout, Timing
from ser.feats.sets import load_set, parse_set, read_set, set_folder
from ser.feats.subset import Subset
from ser.learn.models import sizes_of
from ser.systems.base import Sizes
from tests.feats.conftest import make, plain

CONF = Path(__file__).parents[2] / "conf"
AUDIO = AudioConfig(16000, None, "refuse")
MODULE = '''
from dataclasses import dataclass
import numpy as np
from ser.errors import DataError
from ser.feats.base import Layout, Timing


@dataclass(frozen=True)
class Settings:
    extractor: str
    shift_ms: float

    def __post_init__(self):
        if self.shift_ms <= 0:
            raise ValueError(f"shift_ms must be above 0, got {self.shift_ms}")


class Loudness:
    """Level and zero crossings of frames that stand side by side."""

    Settings = Settings
    dim = 2
    versions = {"ours": "1"}

    def __init__(self, settings, sampling_rate_hz):
        self.length = int(sampling_rate_hz * settings.shift_ms / 1000)
        self.timing = Timing(settings.shift_ms / 1000, settings.shift_ms / 2000)

    def compute(self, samples, key):
        count = len(samples) // self.length
        if count == 0:
            raise DataError(f"has {len(samples)} samples, fewer than a frame of {self.length}; leave it out")
        frames = samples[: count * self.length].reshape(count, self.length)
        return np.stack([np.square(frames).mean(1), (np.diff(np.sign(frames)) != 0).sum(1)], axis=1)


class Total(Loudness):
    """The same of the whole recording, a vector."""

    def __init__(self, settings, sampling_rate_hz):
        super().__init__(settings, sampling_rate_hz)
        self.timing = None

    def compute(self, samples, key):
        return super().compute(samples, key).mean(0)


class Layered(Loudness):
    """The same as two layers of something, without an order."""

    layout = Layout((3, 5), ordered=False)


class Strange(Loudness):
    def compute(self, samples, key):
        return np.full((3, 5), 1.0)


class Broken(Loudness):
    def compute(self, samples, key):
        return np.full((3, 2), np.nan)


class NoCompute:
    Settings = Settings


class NoDim:
    Settings = Settings

    def __init__(self, settings, sampling_rate_hz):
        self.timing = None

    def compute(self, samples, key):
        return samples


class NoDataclass(Loudness):
    class Settings:
        shift_ms: float


class OtherCall(Loudness):
    def __init__(self, settings):
        pass


class OtherCompute(Loudness):
    def compute(self, samples):
        return samples


function = len
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in Python's path with the package ``my_package``: ``my_module``, ``broken`` and ``typo``."""
    folder = tmp_path / "site" / "my_package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "my_module.py").write_text(MODULE)
    (folder / "broken.py").write_text("import a_library_that_is_missing\n")
    (folder / "typo.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(folder.parent)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        monkeypatch.delitem(sys.modules, name)
    return folder


def outside(tmp_path: Path, name: str, stem: str = "loud", shift_ms: float = 20.0) -> Path:
    path = tmp_path / f"{stem}.yaml"
    path.write_text(f"extractor: my_package.{name}\nshift_ms: {shift_ms}\n")
    return path


# ------------------------------------------------------------------------------- extractors of one's own


@pytest.mark.usefixtures("package")
def test_an_extractor_of_ones_own_makes_frames(data: Path, tmp_path: Path) -> None:
    loud = load_set(outside(tmp_path, "my_module:Loudness"), AUDIO)
    assert loud.timing == Timing(0.02, 0.01)
    make(data, loud, 3)
    extract.make_main(data, "loud")
    assert (data / "frame_shift").read_text() == "0.02\n"
    frames = tables.read_table(data / "utt2num_frames")
    reader = tables.ArkReader(data / "feats.scp")
    for utt, path in tables.read_table(data / "wav.scp").items():
        samples, _ = soundfile.read(path, dtype="float32")
        count = len(samples) // 320
        assert frames[utt] == str(count)
        level = np.square(samples[: 320 * count].reshape(-1, 320)).mean(1)
        np.testing.assert_array_equal(reader.read(utt, count, 2)[:, 0], level)
    assert read_set(data) == loud
    assert config.read_yaml(data / "feats.yaml") == {
        "set": "loud",
        "settings": {"extractor": "my_package.my_module:Loudness", "shift_ms": 20.0},
        "audio": {"sampling_rate_hz": 16000, "channel": None, "resample": "refuse"},
        "compress": "none",
        "timing": {"shift_s": 0.02, "middle_s": 0.01},
    }


@pytest.mark.usefixtures("package")
def test_the_layout_of_the_values_is_kept(data: Path, tmp_path: Path) -> None:
    """What a frame's values are to each other is a property of the set, told by data and by no one's name."""
    layered = load_set(outside(tmp_path, "my_module:Layered", "layered"), AUDIO)
    assert layered.layout == Layout((3, 5), ordered=False)
    plainer = load_set(outside(tmp_path, "my_module:Loudness"), AUDIO)
    assert plainer.layout == ONE_SCALE
    assert "layout" not in plainer.to_dict()
    assert layered.to_dict()["layout"] == {"layers": [3, 5], "ordered": False}
    make(data, layered, 2)
    assert read_set(data, "layered") == layered
    tables.write_table(data / "utt2spk", dict.fromkeys(tables.read_table(data / "wav.scp"), "s"))
    subset = Subset(data, ["layered"], "none")
    assert subset.main.layout == layered.layout
    assert sizes_of(subset, ["a"]) == Sizes({"layered": 2}, 1, {}, {"layered": layered.layout})
    with pytest.raises(ValueError, match="^layers must be named once each, got 3, 3$"):
        Layout((3, 3))
    with pytest.raises(ValueError, match="^layered has 3 values, no multiple of 2 layers$"):
        Sizes({"layered": 3}, 1, {}, {"layered": layered.layout})


@pytest.mark.usefixtures("package")
def test_an_extractor_of_ones_own_makes_vectors(data: Path, tmp_path: Path) -> None:
    total = load_set(outside(tmp_path, "my_module:Total", "total"), AUDIO, "CM")
    assert (total.timing, total.compress) == (None, "none")  # vectors are never compressed
    make(data, total, 2)
    assert sorted(path.name for path in (data / "total").iterdir()) == [
        ".lock", "feats.1.ark", "feats.1.scp", "feats.2.ark", "feats.2.scp", "feats.scp", "made.json",
        "settings.yaml", "utt2digest",
    ]  # fmt: skip
    reader = tables.ArkReader(data / "total" / "feats.scp")
    assert [reader.read(utt).shape for utt in reader.places] == [(2,)] * 7
    with pytest.raises(DataError, match="total/utt2num_frames: no such file; make the set of frames total"):
        extract.make_main(data, "total")


@pytest.mark.usefixtures("package")
def test_another_version_of_what_the_values_depend_on_is_refused(data: Path, tmp_path: Path) -> None:
    loud = load_set(outside(tmp_path, "my_module:Loudness"), AUDIO)
    make(data, loud, 1)
    sys.modules["my_package.my_module"].Loudness.versions = {"ours": "2"}
    with pytest.raises(StaleError) as error:
        extract.make_shard(data, loud, 1, 1, plain)
    assert str(error.value) == (
        f"{data}/loud: was made differently: versions.ours: 1 -> 2; "
        f"choose another data folder, or have them made again: rm -r {data}/loud"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Strange",
            "the extractor Strange gave features of shape (3, 5), expected (T, 2) with T > 0; correct it",
        ),
        (
            "Broken",
            "the extractor Broken gave NaN or infinite values; correct it, or leave the recording out where "
            "the corpus is prepared",
        ),
    ],
)
@pytest.mark.usefixtures("package")
def test_features_of_another_form_are_refused(data: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        make(data, load_set(outside(tmp_path, f"my_module:{name}"), AUDIO), 7)
    assert str(error.value) == f"{tmp_path}/wav/0.wav: {message}"


CONTRACT = "ser/feats/base.py says what it needs"
BAD = {
    "nowhere:X": "my_package.nowhere cannot be imported (ModuleNotFoundError: No module named "
    "'my_package.nowhere'); correct the name, or put its folder on PYTHONPATH",
    "broken:X": "my_package.broken cannot be imported (ModuleNotFoundError: No module named "
    "'a_library_that_is_missing'); correct the name, or put its folder on PYTHONPATH",
    "my_module:Loudnes": "my_package.my_module has no Loudnes; did you mean Loudness?",
    "my_module:xyz": "my_package.my_module has no xyz; correct the name behind the colon",
    "my_module:function": f"is no class; {CONTRACT}",
    "my_module:NoCompute": f"has no compute; {CONTRACT}",
    "my_module:Settings": f"has no Settings, compute; {CONTRACT}",
    "my_module:NoDim": f"has no dim, versions; {CONTRACT}",
    "my_module:NoDataclass": f"its Settings are no dataclass with a field extractor; {CONTRACT}",
    "my_module:OtherCall": "its constructor does not take (settings, sampling_rate_hz): too many positional "
    f"arguments; {CONTRACT}",
    "my_module:OtherCompute": "its compute does not take (samples, key): too many positional arguments; "
    f"{CONTRACT}",
}


@pytest.mark.parametrize(("name", "message"), BAD.items(), ids=BAD.keys())
@pytest.mark.usefixtures("package")
def test_bad_extractors(tmp_path: Path, name: str, message: str) -> None:
    path = outside(tmp_path, name)
    with pytest.raises(ConfigError) as error:
        load_set(path, AUDIO)
    assert str(error.value) == f"{path}: extractor my_package.{name}: {message}"


@pytest.mark.usefixtures("package")
def test_a_module_with_an_error_of_its_own(tmp_path: Path) -> None:
    path = outside(tmp_path, "typo:X")
    with pytest.raises(ConfigError) as error:
        load_set(path, AUDIO)
    assert str(error.value).startswith(
        f"{path}: extractor my_package.typo:X: my_package.typo cannot be imported (SyntaxError: "
    )
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("package")
def test_settings_that_the_extractor_refuses(tmp_path: Path) -> None:
    path = outside(tmp_path, "my_module:Loudness", shift_ms=-1.0)
    with pytest.raises(ConfigError) as error:
        load_set(path, AUDIO)
    assert str(error.value) == f"{path}: shift_ms must be above 0, got -1.0; correct it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extractor: fbnk\n", "extractor fbnk is unknown; did you mean fbank?"),
        (
            "extractor: wav2vec\n",
            "extractor wav2vec is unknown; known are fbank, functionals, mel_functionals, energy, silero, "
            "spectrogram, pretrained, or my_package.my_module:NAME for your own",
        ),
        (
            "num_mel_bins: 23\n",
            "extractor must name one of fbank, functionals, mel_functionals, energy, silero, spectrogram, "
            "pretrained, or my_package.my_module:NAME, got None; add it",
        ),
        (
            "extractor: functionals\nfeature_set: eGeMAPS\n",
            "feature_set must be one of eGeMAPSv02, ComParE_2016, got 'eGeMAPS'; correct it",
        ),
        ("extractor: functionals\nfeature_sets: 1\n", "unknown key feature_sets; did you mean feature_set?"),
        ("base: fbank.yaml\nmel_bins: 23\n", "unknown key mel_bins; did you mean num_mel_bins?"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_set(path, AUDIO)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize("name", ["text", "source", "log", "utt2x", "spk2gender", "a b", "1st", "fbank.40"])
def test_names_that_a_set_cannot_have(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text("base: fbank.yaml\n")
    with pytest.raises(ConfigError) as error:
        load_set(path, AUDIO)
    assert str(error.value) == (
        f"{path}: a feature set cannot be called {name}; name the file with letters, digits, _ and -, and "
        "not like a table of a data folder"
    )


# -------------------------------------------------------------------------------------- files and folders


def test_the_sets_of_the_recipe() -> None:
    for name, timing in (
        ("fbank", Timing(0.01, 0.0125)),
        ("fbank_kaldi", Timing(0.01, 0.0125)),
        ("align_fbank", Timing(0.005, 0.0025)),
        ("egemaps", None),
        ("compare", None),
    ):
        features = load_set(CONF / f"{name}.yaml", AUDIO)
        assert (features.name, features.timing) == (name, timing)
        assert parse_set(name, features.to_dict(), "here") == features


def test_the_sampling_rate_is_the_corpuss(data: Path) -> None:
    corpus = data.parents[1] / "conf" / "corpus.yaml"
    assert load_set(CONF / "fbank.yaml", corpus) == load_set(CONF / "fbank.yaml", AUDIO)
    overrides = ["sampling_rate_hz=8000", "high_freq_hz=0.0"]
    with pytest.raises(ConfigError) as error:
        load_set(CONF / "fbank.yaml", corpus, "none", overrides)
    assert str(error.value) == (
        f"{CONF}/fbank.yaml: sampling_rate_hz is 8000, but audio.sampling_rate_hz in {corpus} is 16000; "
        "make them the same"
    )
    with pytest.raises(ConfigError, match="but audio.sampling_rate_hz is 16000; make them the same$"):
        load_set(CONF / "fbank.yaml", AUDIO, "none", overrides)
    slow = load_set(CONF / "fbank.yaml", AudioConfig(8000, None, "refuse"), "none", overrides)
    assert slow.settings["sampling_rate_hz"] == 8000


@pytest.mark.usefixtures("package")
def test_a_view_reads_all_sets_of_its_source(data: Path, tmp_path: Path) -> None:
    fbank = load_set(CONF / "fbank.yaml", AUDIO)
    total = load_set(outside(tmp_path, "my_module:Total", "t"), AUDIO)
    make(data, fbank, 2)
    make(data, total, 2)
    extract.make_main(data, "fbank")
    tables.write_table(data / "utt2spk", {f"utt{i}": "s" for i in range(7)})
    make_view(data, tmp_path / "view", ["utt1", "utt2"])
    make_view(tmp_path / "view", tmp_path / "smaller", ["utt2"])
    for view in (tmp_path / "view", tmp_path / "smaller"):
        assert (view / "source").read_text() == f"{data}\n"
        assert (read_set(view), read_set(view, "fbank"), read_set(view, "t")) == (fbank, fbank, total)
        assert set_folder(view, "t") == data / "t"
    assert tables.read_table(tmp_path / "smaller" / "feats.scp").keys() == {"utt2"}


def test_sets_that_a_folder_does_not_have(data: Path) -> None:
    with pytest.raises(DataError) as error:
        read_set(data)
    assert str(error.value) == f"{data}/feats.yaml: no such file; run stage 1 (steps/extract.sh)"
    with pytest.raises(DataError) as error:
        read_set(data, "egemaps")
    assert str(error.value) == (
        f"{data}/egemaps/settings.yaml: no such file; run stage 1 (steps/extract.sh) with the feature set "
        "egemaps"
    )
    (data / "feats.yaml").write_text("audio: {}\n")
    with pytest.raises(DataError) as error:
        read_set(data, "egemaps")
    assert str(error.value) == (
        f"{data}/feats.yaml: does not name the feature set (set: <name>); run stage 1 again"
    )
    (data / "feats.yaml").write_text("set: fbank\naudio: {}\n")
    with pytest.raises(ConfigError) as bad:
        read_set(data)
    assert str(bad.value) == f"{data}/feats.yaml: missing key settings (a mapping); make the features again"
