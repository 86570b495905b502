"""Experiments: words to systems, overrides to files, fusions, folds to task lists; mistakes in one line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from ser import config
from ser.data import files, tables
from ser.data.corpus import load_corpus
from ser.data.corpus_tables import stage_0_settings
from ser.data.division import Fold
from ser.data.folds import FoldLine, write_folds
from ser.data.labels import write_emotions
from ser.data.tuning import TuningSource, write_tuning
from ser.errors import SerError, StaleError
from ser.experiment.asked import read_experiment
from ser.experiment.settings import work_out_settings
from ser.experiment.work import (
    check_turns,
    expected_folds,
    refuse_other_data,
    refuse_second_protocol,
    tell_lost,
    work_out,
    write_all,
)
from ser.feats.vad import VadConfig
from ser.plan import Plan, read_plan
from ser.reporting.scores import fuse_systems, score_systems
from ser.verbs import plan as plan_verb
from ser.verbs import report, tabulate

RunVerb = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def recipe(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything is seen from a recipe's folder, as run.sh does."""
    monkeypatch.chdir(repo / "egs" / "emodb")
    return repo / "egs" / "emodb"


def plan_of(
    tmp_path: Path, *options: str, file: Path | None = None, corpus: str = "conf/corpus.yaml"
) -> Plan:
    experiment = read_experiment(file, options)
    settings = work_out_settings(experiment, Path(corpus), Path())
    refuse_second_protocol(settings, tmp_path / "exp")
    plan = work_out(experiment, settings, tmp_path / "exp", tmp_path / "data")
    refuse_other_data(settings, plan.data)
    write_all(plan, settings)
    return plan


def refusal(tmp_path: Path, *options: str, **more: object) -> str:
    with pytest.raises(SerError) as error:
        plan_of(tmp_path, *options, **more)  # type: ignore[arg-type]
    assert not (tmp_path / "exp" / "plan.json").exists()
    return str(error.value)


def resolved(tmp_path: Path, name: str) -> dict[str, object]:
    tree: dict[str, object] = yaml.safe_load((tmp_path / "exp" / "conf" / f"{name}.yaml").read_text())
    return tree


# -------------------------------------------------------------------------------------------------- systems


def test_the_default_is_the_papers(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert [(s.name, s.stem, s.context, s.seeds, s.seeded) for s in plan.systems] == [
        ("blstmatt", "blstmatt", None, (777,), True),
        ("csa_30", "csa", 30, (777,), True),
        ("majority", "majority", None, (0,), False),
    ]
    assert [(f.name, f.systems, f.weights, f.seeds) for f in plan.fusions] == [
        ("syscomb", ("blstmatt", "csa_30"), (0.4,), (777,)),
        ("syscomb_dev", ("blstmatt", "csa_30"), None, (777,)),
    ]
    assert (plan.interpret, plan.sets, plan.protocol) == (("blstmatt",), ("fbank",), "loso")
    assert plan.table() == ["blstmatt", "csa_30", "syscomb", "syscomb_dev", "majority"]
    assert read_plan(tmp_path / "exp") == plan
    assert (tmp_path / "exp" / "tasks" / "extras").read_text() == ""
    assert resolved(tmp_path, "csa_30")["unit"] == {
        "context": 30, "overlap": 10, "shift": None, "tail": "drop", "short_utt": "drop", "pooling": "mean",
    }  # fmt: skip


def test_words_name_files_contexts_and_folders(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("base: csa_small.yaml\ntraining: {epochs: 3}\n")
    words = f"a=blstmatt_global csa csa_60 x=csa_global_40 csa_global svm_compare {own}"
    plan = plan_of(tmp_path, f"systems={words}", "contexts=20 30", "seeds=1 2", "protocol=loso_early")
    assert [(s.name, s.stem, s.context) for s in plan.systems] == [
        ("a", "a", None),
        ("csa_20", "csa", 20),
        ("csa_30", "csa", 30),
        ("csa_60", "csa", 60),
        ("x", "x", 40),
        ("csa_global_20", "csa_global", 20),
        ("csa_global_30", "csa_global", 30),
        ("svm_compare", "svm_compare", None),
        ("mine_20", "mine", 20),
        ("mine_30", "mine", 30),
    ]
    assert plan.sets == ("fbank", "compare", "energy")
    assert plan.fusions == ()  # the paper's first system is not there
    assert plan.interpret == ()
    assert plan.folds == tmp_path / "data" / "folds_loso_early"
    assert (tmp_path / "exp" / "tasks" / "extras").read_text() == "baselines\n"
    assert resolved(tmp_path, "mine_20")["training"]["epochs"] == 3  # type: ignore[index]
    assert resolved(tmp_path, "corpus")["protocol"] == "loso_early"


def test_copies_are_features_to_make_but_not_what_is_read(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "systems=svm_mel_speeds")
    assert plan.sets == ("fbank", "mel_functionals", "mel_functionals_sp09", "mel_functionals_sp11")
    assert plan.system("svm_mel_speeds").sets == ("mel_functionals",)


def test_copies_that_are_no_lists(tmp_path: Path) -> None:
    override = "set=svm_mel_speeds:features.copies=[mel_functionals_sp09]"
    assert refusal(tmp_path, "systems=svm_mel_speeds", override).endswith(
        "conf/svm_mel_speeds.yaml: features.copies must be lists of feature sets, got 'mel_functionals_sp09'; "
        "correct it"
    )


def test_a_context_that_nobody_says_is_that_of_the_settings(tmp_path: Path) -> None:
    """A CNN-LSTM's parts of 300 frames are not CSA's chunks of 30."""
    plan = plan_of(tmp_path, "systems=csa cnn_lstm a=attention_pooling_150")
    assert [(s.name, s.context) for s in plan.systems] == [("csa_30", 30), ("cnn_lstm_300", 300), ("a", 150)]
    assert resolved(tmp_path, "cnn_lstm_300")["unit"]["context"] == 300  # type: ignore[index]


TABLE1 = [
    *("cnn_lstm", "attention_pooling", "cnn_gru", "cnn_seqcap", "cnn_gru_seqcap", "cnn_reccap"),
    *("eigenvoice", "ivector", "majority"),
]


@pytest.mark.parametrize(
    ("recipe", "sets"),
    [
        ("iemocap", ("fbank", "spectrogram", "spectrogram_10hz", "compare")),
        ("emodb", ("fbank", "spectrogram_small", "energy")),
        ("mini", ("fbank", "spectrogram_small", "energy")),
    ],
)
def test_a_list_stands_for_its_systems(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, sets: tuple[str, ...]
) -> None:
    """In small sizes for open corpora; BLSTMATT and CSA as the recipe has them; with what reads words."""
    monkeypatch.chdir(repo / "egs" / recipe)
    plan = plan_of(tmp_path, "systems=svm_mel table1", "contexts=20 40")
    words = ["multimodal"] if recipe != "emodb" else []
    assert [s.name for s in plan.systems] == ["svm_mel", "blstmatt", "csa_20", "csa_40", *TABLE1, *words]
    assert set(plan.sets) == {*sets, "mel_functionals"}
    assert plan.system("cnn_lstm").context == (300 if recipe == "iemocap" else 150)
    hidden = resolved(tmp_path, "blstmatt")["model"]["hidden"]  # type: ignore[index]
    assert hidden == (512 if recipe == "iemocap" else 64)
    published = {s.name: (s.published.acc, s.published.uar) for s in plan.systems if s.published}
    assert published == {
        "cnn_lstm": (68.8, 59.4),
        "attention_pooling": (71.8, 68.0),
        "cnn_gru_seqcap": (72.73, 59.71),
        "cnn_reccap": (None, 58.1),
        "eigenvoice": (56.1, None),
        **{name: (78.0, None) for name in words},
    }
    assert read_plan(tmp_path / "exp") == plan


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    """Paths in it are seen from its folder."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "mine.yaml").write_text("base: majority.yaml\n")
    (tmp_path / "lists" / "two.yaml").write_text("systems: [./mine.yaml, x=csa_20]\n")
    (tmp_path / "lists" / "all.yaml").write_text("systems: [svm_mel, two.yaml]\n")
    plan = plan_of(tmp_path, f"systems={tmp_path}/lists/all.yaml")
    assert [s.name for s in plan.systems] == ["svm_mel", "mine", "x"]


@pytest.mark.parametrize(
    ("word", "text", "message"),
    [
        (
            "a={}",
            "systems: [majority]\n",
            "systems: a={0}: {0} is a list of systems, which has no name or context of its own; write list",
        ),
        (
            "{}",
            "systems: [majority]\nseeds: [1]\n",
            "{0}: a list of systems has the key systems alone, not seeds; an experiment is named with "
            "--experiment",
        ),
        ("{}", "systems: []\n", "{0}: systems must be a list of systems, got []; correct it"),
        ("{}", "systems: table1\n", "{0}: systems must be a list of systems, got 'table1'; correct it"),
        ("{}", "systems: [list.yaml]\n", "{0}: list.yaml is a list that this one is in; name its systems"),
        (
            "{}",
            "systems: [blstmat]\n",
            "systems: blstmat: there is no conf/blstmat.yaml; did you mean blstmatt?",
        ),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, word: str, text: str, message: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(text)
    assert refusal(tmp_path, f"systems={word.format(path)}") == message.format(path)


@pytest.mark.parametrize(
    ("published", "message"),
    [
        (
            "{acc: null, uar: null, of: x}",
            "published.acc or uar must be a number; leave published out where nothing is; correct it",
        ),
        ("{acc: 0.6, uar: 101, of: x}", "published.uar must be from 0 to 100, got 101.0; correct it"),
        (
            "{acc: 60, uar: null, of: ' '}",
            "published.of must say of what the numbers are, in a line, got ' '; correct it",
        ),
        ("{acc: 60, of: x}", "missing key published.uar; add it (a number from 0 to 100 or null)"),
        ("60.0", "published must be a mapping, got 60.0; correct it"),
    ],
)
def test_published_numbers_that_cannot_be_shown(tmp_path: Path, published: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: csa_small.yaml\npublished: {published}\n")
    assert refusal(tmp_path, f"systems={path}") == f"{path}: {message}"


@pytest.mark.parametrize("words", ["csa_small_20 blstmatt", "blstmatt csa_small_20", "majority"])
def test_the_recipes_features_come_before_the_shared_ones(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Also for a system whose settings are shared; mini has 40 filters, the shared file 23."""
    monkeypatch.chdir(repo / "egs" / "mini")
    plan_of(tmp_path, f"systems={words}")
    assert resolved(tmp_path, "fbank")["num_mel_bins"] == 40


def test_features_beside_a_system_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: blstmatt_small.yaml\n")
    (tmp_path / "fbank.yaml").write_text("base: fbank.yaml\nnum_mel_bins: 32\n")
    plan_of(tmp_path, f"systems={tmp_path}/mine.yaml blstmatt")
    assert resolved(tmp_path, "fbank")["num_mel_bins"] == 32


def test_a_file_says_what_options_say_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(
        "systems: [blstmatt, csa_20, csa_60, svm_egemaps]\nseeds: [1, 2]\nfuse:\n"
        "- all=blstmatt csa_20 csa_60 svm_egemaps\n- two=csa_20 csa_60:0.5\ninterpret: []\n"
    )
    plan = plan_of(tmp_path, "seeds=5", "protocol=", file=file)
    assert [s.seeds for s in plan.systems] == [(5,), (5,), (5,), (0,)]
    assert [(f.name, f.systems, f.weights, f.seeds) for f in plan.fusions] == [
        ("all", ("blstmatt", "csa_20", "csa_60", "svm_egemaps"), None, (5,)),
        ("two", ("csa_20", "csa_60"), (0.5,), (5,)),
    ]
    assert plan.interpret == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["systems=blstmat"], "systems: blstmat: there is no conf/blstmat.yaml; did you mean blstmatt?"),
        (["systems=blstmatt_30"], "systems: blstmatt_30: conf/blstmatt.yaml has no unit.context, so no "
         "context can be named"),
        (["systems=csa_20 csa", "contexts=20"], "systems: csa_20 is named twice; give one of them "
         "another name, "
         "NAME=csa_20"),
        (["systems=pooled=blstmatt"], "systems: pooled is a folder of every experiment; choose another name"),
        (["systems=fbank=majority"], "systems: fbank has settings of its own"),
        (["systems=a/b=majority"], "systems: the id 'a/b' has characters other than"),
        (["contexts=30 x"], "the options: contexts must be whole numbers, got '30 x'; correct it"),
        (["contexts=0"], "contexts: 0 is not from 1 to 1000000; choose another"),
        (["seeds=7 007"], "seeds: 7 is named twice; name it once"),
        (["seeds=99999999999999999999"], "seeds: 99999999999999999999 is not from 0 to 9223372036854775807; "
         "choose another"),
        (["sseds=1"], "the options: an experiment has no key sseds; did you mean seeds?"),
        (["seeds"], "seeds: expected KEY=VALUE, such as seeds='1 2'"),
        (["fusion_weight=-1"], "fusion_weight: a weight is a number of at least 0, got -1"),
        (["interpret=csa"], "interpret: csa is no system; did you mean csa_30?"),
        (["protocol=lso"], "--protocol lso is unknown; did you mean loso?"),
        (["fuse=a=blstmatt csa"], "fuse: a: csa is no system of this experiment; did you mean csa_30?"),
        (["fuse=a=blstmatt"], "fuse: a: name two systems or more, each once, or SYSTEM@* of several "
         "seeds, got 'blstmatt'"),
        (["fuse=a=blstmatt blstmatt"], "fuse: a: name two systems or more, each once, or SYSTEM@* of "
         "several seeds, got 'blstmatt blstmatt'"),
        (["fuse=a=blstmatt csa_30:x"], "fuse: a: csa_30:x: 'x' is no weight; write a number of at least 0"),
        (["fuse=a=blstmatt:2 csa_30:1"], "fuse: a: the first system has the weight 1; give those of the "
         "others "
         "beside it"),
        (["fuse=a=blstmatt csa_30:1 majority"], "fuse: a: give a weight to each system after the first, "
         "or to "
         "none to tune them"),
        (["fuse=a=csa_30@*"], "fuse: a: name two systems or more, each once, or SYSTEM@* of several seeds, "
         "got 'csa_30@*'"),
        (["fuse=a=csa_30@* blstmatt:1", "seeds=1 2"], "fuse: a: beside a system over its seeds weights are "
         "tuned; give none"),
        (["fuse=blstmatt=blstmatt csa_30:1"], "systems, fuse, also: blstmatt is named twice"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, options: list[str], message: str) -> None:
    assert refusal(tmp_path, *options).startswith(message)


def test_a_fusion_cannot_be_tuned_without_dev_speakers(tmp_path: Path, repo: Path) -> None:
    corpus = str(repo / "egs" / "iemocap" / "conf" / "corpus.yaml")
    assert [f.name for f in plan_of(tmp_path / "a", corpus=corpus).fusions] == ["syscomb"]
    assert refusal(tmp_path, "fuse=a=blstmatt csa_30", corpus=corpus) == (
        "fuse: a: its weights are to be tuned, but the protocol paper has no dev speakers; give weights, "
        "SYSTEM:WEIGHT, or choose another --protocol"
    )


# ------------------------------------------------------------------------------------------------ overrides


def test_an_override_reaches_every_file_that_has_the_key(tmp_path: Path) -> None:
    plan_of(
        tmp_path, "set=training.epochs=2", "set=csa:model.channels=[4,8,16]", "set=blstmatt:model.hidden=8",
        "set=num_mel_bins=30", "set=keep.sentence=[a01]", "set=corpus:audio.resample=convert",
    )  # fmt: skip
    blstmatt, csa = resolved(tmp_path, "blstmatt"), resolved(tmp_path, "csa_30")
    assert blstmatt["training"]["epochs"] == csa["training"]["epochs"] == 2  # type: ignore[index]
    assert csa["model"]["channels"] == [4, 8, 16]  # type: ignore[index]
    assert blstmatt["model"]["hidden"] == 8  # type: ignore[index]
    assert resolved(tmp_path, "fbank")["num_mel_bins"] == 30
    corpus = resolved(tmp_path, "corpus")
    assert corpus["keep"] == {"sentence": ["a01"]}
    assert corpus["audio"]["resample"] == "convert"  # type: ignore[index]


def test_speech_activity_is_decided_if_a_system_asks_for_it(tmp_path: Path) -> None:
    tasks = tmp_path / "exp" / "tasks"
    plan = plan_of(tmp_path, "set=blstmatt:features.vad.use=trim", "set=below_loudest_db=35")
    assert (plan.vad, plan.sets) == (True, ("fbank", "energy"))
    assert read_plan(tmp_path / "exp") == plan
    assert (tasks / "vad").read_text() == f"{tmp_path}/exp/conf/vad.yaml\n"
    assert resolved(tmp_path, "vad")["below_loudest_db"] == 35
    assert resolved(tmp_path, "blstmatt")["features"]["vad"]["use"] == "trim"  # type: ignore[index]
    assert resolved(tmp_path, "csa_30")["features"]["vad"]["use"] == "none"  # type: ignore[index]
    plan = plan_of(
        tmp_path, "set=features.cmvn.over=speech", "set=vad:set=silero", "systems=blstmatt majority"
    )
    assert (plan.vad, plan.sets) == (True, ("fbank", "silero"))
    assert (tasks / "extras").read_text() == "vad\n"
    plan = plan_of(tmp_path)
    assert (plan.vad, plan.sets, (tasks / "vad").read_text()) == (False, ("fbank",), "")
    with pytest.raises(SerError) as error:
        plan_of(tmp_path, "set=below_loudest_db=35")
    assert str(error.value).startswith(
        "--set below_loudest_db=35: no settings file of this experiment has the key below_loudest_db"
    )


def test_the_neural_network_is_a_base_for_a_recipe(repo: Path) -> None:
    settings = config.load(VadConfig, repo / "conf" / "vad_silero.yaml")
    assert (settings.set, settings.vad_energy_threshold, settings.below_loudest_db) == ("silero", 0.5, None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=2", "--set training.epoch=2: no settings file of this experiment has the key "
         "training.epoch; did you mean training.epochs?"),
        ("csa_20:training.epochs=2", "--set csa_20:training.epochs=2: there is no system, feature set "
         "or corpus "
         "csa_20; did you mean csa_30?"),
        ("unit.context=40", "--set unit.context=40: contexts are said with --contexts, or behind a "
         "system's name"),
        ("corpus:keeep.style=[x]", "--set corpus:keeep.style=[x]: conf/corpus.yaml has no key keeep; did "
         "you mean keep?"),
        ("csa:trainig.epochs=2", "--set csa:trainig.epochs=2: conf/csa.yaml has no key trainig; did you "
         "mean training?"),
        ("optim.lr", "--set optim.lr: expected <key>=<value>, such as optim.lr=5e-5"),
    ],
)  # fmt: skip
def test_an_override_that_nobody_takes(tmp_path: Path, override: str, message: str) -> None:
    assert refusal(tmp_path, f"set={override}") == message


def test_free_keys_of_the_corpus_need_no_name(tmp_path: Path) -> None:
    """A label, an attribute or a protocol may be added, though the file does not have it yet."""
    corpus = tmp_path / "corpus.yaml"
    corpus.write_text(Path("conf/corpus.yaml").read_text().replace("keep: {}", "keep: {sentence: [a01]}", 1))
    protocol = "{group: speaker, test: each, dev: null, keep: {}}"
    plan_of(
        tmp_path, "set=keep.speaker=['03']", "set=labels.X=ang", f"set=protocols.mine={protocol}",
        "protocol=mine", corpus=str(corpus),
    )  # fmt: skip
    tree = resolved(tmp_path, "corpus")
    assert tree["keep"] == {"sentence": ["a01"], "speaker": ["03"]}
    assert tree["labels"]["X"] == "ang"  # type: ignore[index]
    assert tree["protocol"] == "mine"


def test_settings_of_stage_0_that_the_data_were_not_made_with(tmp_path: Path) -> None:
    data = tmp_path / "data" / "all"
    data.mkdir(parents=True)
    made = stage_0_settings(load_corpus(Path("conf/corpus.yaml")))
    files.write_made(data, made, {}, [])
    plan_of(tmp_path, "set=protocols.loso.dev.speakers=3", "set=blstmatt:training.epochs=2")
    told = refused_anew(tmp_path, "set=keep.emotion=[A,F]", "set=audio.channel=0")
    assert told == (
        f"{data}: was made differently: audio.channel: None -> 0; keep.emotion: (not set) -> ['A', 'F']; "
        f"choose another folder, or remove it: rm -r {data}"
    )
    (data / "made.json").unlink()
    (data / "utt2spk").write_text("a a\n")  # tables of one's own
    plan_of(tmp_path, "set=audio.channel=0")
    assert refused_anew(tmp_path, "set=keep.emotion=[A,F]") == (
        f"--set keep.emotion=[A,F]: is for stage 0, which did not make {data}; leave it out, and change the "
        "tables there"
    )


def refused_anew(tmp_path: Path, *options: str) -> str:
    """What is said at the door, before the plan of an earlier run is touched."""
    before = (tmp_path / "exp" / "conf" / "corpus.yaml").read_bytes()
    with pytest.raises(SerError) as error:
        plan_of(tmp_path, *options)
    assert (tmp_path / "exp" / "conf" / "corpus.yaml").read_bytes() == before
    return str(error.value)


# ----------------------------------------------------------------------------------------- folds and lists


FOLDS = [
    Fold("1", {}, "1-dev", "test"),
    Fold("1-dev", {}),
    Fold("2", {}, "2-dev", "test"),
    Fold("2-dev", {}),
]


def lines(tmp_path: Path, name: str) -> list[list[str]]:
    text = (tmp_path / "exp" / "tasks" / f"{name}.tsv").read_text().replace(f"{tmp_path}/", "")
    return [line.split("\t") for line in text.splitlines()]


def test_task_lists(tmp_path: Path) -> None:
    """Only what a tuned fusion needs is trained and decoded in the tuning folds."""
    (tmp_path / "data" / "folds").mkdir(parents=True)
    write_folds(tmp_path / "data" / "folds" / "folds.tsv", FOLDS)
    plan_of(tmp_path, "contexts=20 30", "seeds=1 2")
    train = [(fields[0], fields[2], fields[3], fields[4]) for fields in lines(tmp_path, "train")]
    assert len(train) == 2 * (4 + 2 + 4) + 2
    assert train[0] == ("data/folds/1/train", "exp/1/blstmatt/seed1", "1", "exp/conf/blstmatt.yaml")
    assert train[-1] == ("data/folds/2/train", "exp/2/majority/seed0", "0", "exp/conf/majority.yaml")
    folds = {
        name: {row[1].split("/")[1] for row in train if f"/{name}/" in row[1]}
        for name in ("csa_20", "csa_30")
    }
    assert folds == {"csa_20": {"1", "2"}, "csa_30": {"1", "1-dev", "2", "2-dev"}}
    assert lines(tmp_path, "train") == lines(tmp_path, "train_3") + lines(tmp_path, "train_4")
    assert {fields[2].split("/")[2] for fields in lines(tmp_path, "train_3")} == {"blstmatt"}
    decode = lines(tmp_path, "decode")
    assert len(decode) == len(train)
    assert ["exp/1-dev/csa_30/seed2", "data/folds/1-dev/test", "exp/1-dev/csa_30/seed2/decode_test"] in decode
    assert lines(tmp_path, "interpret")[1] == [
        "blstmatt", "fbank", "data/all", "exp/alignments/corpus", "exp/interpret/blstmatt/corpus",
        "exp/interpret/blstmatt/corpus/seed2", "exp/1/blstmatt/seed2/decode_test",
        "exp/2/blstmatt/seed2/decode_test",
    ]  # fmt: skip
    assert lines(tmp_path, "probe")[0] == [
        "exp/1/blstmatt/seed1", "data/folds/1/test", "exp/interpret/blstmatt/corpus/seed1",
        "exp/interpret/blstmatt/corpus/probe/seed1/1",
    ]  # fmt: skip


def test_what_is_pooled_and_fused(tmp_path: Path) -> None:
    (tmp_path / "data" / "folds").mkdir(parents=True)
    write_folds(tmp_path / "data" / "folds" / "folds.tsv", FOLDS)
    plan = plan_of(tmp_path, "systems=blstmatt svm_egemaps", "seeds=1 2", "fuse=f=blstmatt svm_egemaps")
    exp = tmp_path / "exp"
    assert plan.pools("svm_egemaps") == [
        (
            0,
            exp / "pooled/svm_egemaps/seed0/decode_test",
            [exp / f"{f}/svm_egemaps/seed0/decode_test" for f in "12"],
        )
    ]
    run = plan.fusion_runs(plan.fusions[0])[1]
    assert (run.seed, run.fold, run.out) == (2, "1", exp / "1/f/seed2/decode_test")
    assert run.members == [exp / "1/blstmatt/seed2/decode_test", exp / "1/svm_egemaps/seed0/decode_test"]
    assert run.test == tmp_path / "data/folds/1/test"
    assert run.tuning == [
        (
            tmp_path / "data/folds/1-dev/test",
            [exp / "1-dev/blstmatt/seed2/decode_test", exp / "1-dev/svm_egemaps/seed0/decode_test"],
        )
    ]
    assert [output.data.parent.name for output in plan.outputs("svm_egemaps")] == ["1", "2", "1-dev", "2-dev"]


def test_a_fusion_of_any_systems(tmp_path: Path) -> None:
    """It is tuned on all that may be, which is decoded; syscomb_dev on one fold alone."""
    folds = tmp_path / "data" / "folds"
    folds.mkdir(parents=True)
    write_folds(folds / "folds.tsv", FOLDS)
    write_tuning(
        folds / "tuning.tsv",
        {"1": [TuningSource("2-dev", "2-dev", "test"), TuningSource("2-dev", "2", "test")]},
    )
    words = ("systems=blstmatt csa_20 csa_30 svm_compare majority", "seeds=1 2")
    plan = plan_of(tmp_path, *words, "fuse=blstmatt csa_20@* svm_compare", "fuse=ens=csa_30@*")
    fusion, ensemble = plan.fusions
    assert (fusion.name, fusion.words, fusion.weights) == ("fusion", "blstmatt csa_20@* svm_compare", None)
    assert (fusion.criterion, fusion.seeds, fusion.weights_text) == ("logistic", (1, 2), "tuned on dev")
    assert (ensemble.words, ensemble.weights, ensemble.seeds) == ("csa_30@*", (), (0,))
    assert ensemble.weights_text == "equal"
    exp = tmp_path / "exp"

    def members(fold: str, decode: str) -> list[Path]:
        names = ("blstmatt/seed2", "csa_20/seed1", "csa_20/seed2", "svm_compare/seed0")
        return [exp / fold / name / decode for name in names]

    run = next(run for run in plan.fusion_runs(fusion) if (run.fold, run.seed) == ("1", 2))
    assert run.members == members("1", "decode_test")
    assert run.tuning == [
        (folds / "1-dev/test", members("1-dev", "decode_test")),
        (folds / "2-dev/test", members("2-dev", "decode_test")),
        (folds / "2/test", members("2-dev", "decode_tested")),
    ]
    assert [(run.fold, run.members, run.tuning) for run in plan.fusion_runs(ensemble)] == [
        (fold, [exp / fold / f"csa_30/seed{seed}/decode_test" for seed in (1, 2)], []) for fold in "12"
    ]
    decoded = [fields[1:] for fields in lines(tmp_path, "decode") if "svm_compare" in fields[0]]
    assert decoded == [
        [f"data/folds/{data}/test", f"exp/{model}/svm_compare/seed0/{folder}"]
        for model, data, folder in (
            ("1", "1", "decode_test"),
            ("2", "2", "decode_test"),
            ("1-dev", "1-dev", "decode_test"),
            ("2-dev", "2-dev", "decode_test"),
            ("2-dev", "2", "decode_tested"),
        )
    ]
    assert {fields[0].split("/")[1] for fields in lines(tmp_path, "decode") if "csa_30" in fields[0]} == {
        "1",
        "2",
    }
    again = plan_of(tmp_path, *words, "contexts=30", "fuse=")
    assert [(each.name, each.criterion) for each in again.fusions] == [
        ("syscomb", "nll"),
        ("syscomb_dev", "nll"),
    ]
    assert not [fields for fields in lines(tmp_path, "decode") if fields[2].endswith("decode_tested")]


def test_tracks_are_of_the_features_that_are_read(tmp_path: Path) -> None:
    """Not of names: a system of one's own that is called csa, but reads functionals, is no log-mel system."""
    (tmp_path / "csa.yaml").write_text("base: svm_compare.yaml\n")
    (tmp_path / "both.yaml").write_text("base: svm_compare.yaml\nfeatures: {sets: [compare, fbank]}\n")
    (tmp_path / "odd.yaml").write_text("base: svm_compare.yaml\nfeatures: {sets: [mine]}\n")
    (tmp_path / "mine.yaml").write_text("extractor: somewhere.else:MINE\n")
    own = " ".join(f"{tmp_path}/{name}.yaml" for name in ("csa", "both", "odd"))
    fusions = ("fuse=mel=blstmatt csa_30 majority", "fuse=unlike=csa_30 csa")
    plan = plan_of(tmp_path, f"systems=blstmatt csa_30 majority {own}", *fusions)
    assert {name: plan.track(name) for name in plan.table()} == {
        "blstmatt": "log-mel",
        "csa_30": "log-mel",
        "mel": "log-mel",
        "unlike": "open",
        "majority": "-",
        "csa": "functionals",
        "both": "open",
        "odd": "open",
    }


def test_folds_before_there_is_data(tmp_path: Path, repo: Path) -> None:
    def expected(corpus: str, protocol: str) -> list[FoldLine]:
        experiment = read_experiment(None, [f"protocol={protocol}"])
        settings = work_out_settings(experiment, repo / "egs" / corpus / "conf" / "corpus.yaml", Path())
        plan = work_out(experiment, settings, tmp_path / "exp", tmp_path / "data")
        return list(expected_folds(plan, settings))

    assert expected("iemocap", "paper") == [FoldLine("paper", "-", "-")]
    assert expected("emodb", "loso_early") == [FoldLine("<each speaker>", "<each speaker>", "dev")]
    assert [line.name for line in expected("ravdess", "actors")] == [
        name for number in range(1, 7) for name in (str(number), f"{number}-dev")
    ]


# ------------------------------------------------------------------------------------------------ protocols


def test_the_protocol_all_decodes_and_fuses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "data" / "folds_all").mkdir(parents=True)
    write_folds(tmp_path / "data" / "folds_all" / "folds.tsv", [Fold("all", {})])
    plan = plan_of(tmp_path, "protocol=all")
    assert (plan.fusions, plan.interpret, plan.table(), plan.tested) == ((), (), [], False)
    assert [line[2] for line in lines(tmp_path, "train")] == [
        f"exp/all/{name}" for name in ("blstmatt/seed777", "csa_30/seed777", "majority/seed0")
    ]
    for name in ("decode", "interpret", "probe"):
        assert lines(tmp_path, name) == []
    assert list(score_systems(plan)) == list(fuse_systems(plan, mode="power")) == []
    assert tabulate.main(["--plan", str(plan.exp)]) == report.main([str(plan.exp)]) == 0
    assert [text for text in caplog.messages if "nobody" in text] == [
        f"{plan.exp}: the protocol all tests on nobody; nothing to {what}" for what in ("tabulate", "report")
    ]
    assert refusal(tmp_path / "other", "protocol=all", "fuse=blstmatt csa_30") == (
        "fuse: the protocol all tests on nobody, nothing is fused; leave it out"
    )
    assert refusal(tmp_path / "other", "protocol=all", "interpret=blstmatt") == (
        "interpret: the protocol all tests on nobody, whose attention could be looked at; leave it out"
    )


def test_two_protocols_in_one_folder(tmp_path: Path) -> None:
    plan_of(tmp_path)
    plan_of(tmp_path, "protocol=loso_early")  # nothing was made yet
    made = tmp_path / "exp" / "03" / "blstmatt" / "seed777" / "made.json"
    made.parent.mkdir(parents=True)
    made.write_text("{}")
    plan_of(tmp_path, "protocol=loso_early", "seeds=3")
    for options, message in (
        (["protocol=loso"], "holds results of the protocol loso_early of emodb; choose another "
         "--exp-dir for loso of "
         "emodb"),
        (["protocol=loso_early", "set=protocols.loso_early.dev.speakers=3"], "holds results of the "
         "protocol loso_early "
         "of emodb as it was set before (protocols.loso_early.dev.speakers: 2 -> 3); choose another "
         "--exp-dir for loso_early of emodb"),
        (["protocol=loso_early", "set=keep.emotion=[A, F]"], "holds results of the protocol loso_early of "
         "emodb as it was set before (keep.emotion: (not set) -> ['A', 'F']); choose another --exp-dir for "
         "loso_early of emodb"),
    ):  # fmt: skip
        with pytest.raises(SerError) as error:
            plan_of(tmp_path, *options)
        assert str(error.value) == f"{tmp_path}/exp: {message}, or remove it: rm -r {tmp_path}/exp"


@pytest.mark.slow
def test_the_verb(tmp_path: Path, run_verb: RunVerb, recipe: Path) -> None:
    where = [
        "--corpus-conf",
        "conf/corpus.yaml",
        "--data-dir",
        tmp_path / "data",
        "--exp-dir",
        tmp_path / "exp",
    ]
    done = run_verb("plan", *where, "seeds=3", cwd=recipe)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{tmp_path}/data/folds\n")
    assert json.loads((tmp_path / "exp" / "plan.json").read_text())["systems"][0]["seeds"] == [3]
    done = run_verb("plan", *where, "--stage", "3", cwd=recipe)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"ser: error: {tmp_path}/data/folds/folds.tsv: no such file; run stage 2\n"
    done = run_verb("plan", *where, "set=csa:model.kernels=[5]", cwd=recipe)
    assert done.returncode == 1
    assert done.stderr == (
        "ser: error: conf/csa.yaml: model.channels, kernels and pool must be equally long lists, an "
        "entry a block; "
        "correct it\n"
    )
    for name, text in (("plan.json", "no such file; run.sh writes it, or ser plan"),):
        done = run_verb("score", "--plan", tmp_path / "nowhere")
        assert done.returncode == 1
        assert done.stderr == f"ser: error: {tmp_path}/nowhere/{name}: {text}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "blstmatt:optim.clip_norm=-1.0",
            "blstmatt.yaml: optim.clip_norm must be above 0, got -1.0; correct it",
        ),
        ("csa:model.pool=[6,4,1]", "csa.yaml: model.pool leaves nothing of 23 values a frame; correct it"),
        ("fbank:dither=.nan", "fbank.yaml: dither must be a finite number, got nan; correct it"),
        ("corpus:audio.channel=-1", "corpus.yaml: audio.channel must be from 0 to 1023, got -1; correct it"),
    ],
)
def test_settings_are_checked_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    where = ["--corpus-conf", "conf/corpus.yaml", "--data-dir", str(tmp_path / "data")]
    with pytest.raises(SerError) as error:
        plan_verb.main([*where, "--exp-dir", str(tmp_path / "exp"), f"set={change}"])
    assert str(error.value).endswith(message)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_lost_outputs_are_told_before_their_stages_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folds(tmp_path / "data" / "folds" / "folds.tsv", [Fold("03", {})])
    plan = plan_of(tmp_path, "systems=blstmatt")
    features = tmp_path / "data" / "all" / "fbank"
    model = tmp_path / "exp" / "03" / "blstmatt" / "seed777"
    outputs = [features / "feats.scp", features / "cmvn" / "cmvn_utt.ark", model / "model.json"]
    outputs.append(model / "decode_test" / "post")
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("whole")
        files.write_made(path.parent, {}, {}, [path])
        path.write_text("damaged")
    said = [f"{path}: is gone or damaged; making it again" for path in outputs]
    tell_lost(plan, range(10))
    assert caplog.messages == said
    caplog.clear()
    tell_lost(plan, range(4, 6))
    assert caplog.messages == said[2:]

    files.write_made(plan.folds, {}, {}, [plan.folds / "folds.tsv"])
    (plan.folds / "folds.tsv").write_text("mine")
    with pytest.raises(StaleError, match="folds.tsv: was changed since it was made; put it back, or remove"):
        tell_lost(plan, range(3))


# ------------------------------------------------------------------------------------- the data of stage 0


def write_data(folder: Path, speakers: str, *, sad: str) -> None:
    """The tables of stage 0: two utterances of each speaker, the second sad for those named."""
    (folder / "all").mkdir(parents=True)
    utt2spk = {f"{s}-{n}": s for s in speakers for n in (1, 2)}
    classes = {u: "sad" if u[-1] == "2" and s in sad else "ang" for u, s in utt2spk.items()}
    tables.write_table(folder / "all" / "utt2spk", utt2spk)
    tables.write_table(folder / "all" / "utt2emo", classes)
    write_emotions(folder / "all" / "emotions.txt", ("ang", "sad"))


def check_data(tmp_path: Path, repo: Path, *options: str) -> int:
    places = [f"--data-dir={tmp_path / 'data'}", f"--exp-dir={tmp_path / 'exp'}"]
    conf = f"--corpus-conf={repo / 'egs' / 'csv' / 'conf' / 'corpus.yaml'}"
    return plan_verb.main([conf, *places, "--check-data", *options])


def test_how_much_is_trained_is_told_once_there_is_data(
    tmp_path: Path, repo: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    assert check_data(tmp_path, repo) == 0
    assert caplog.messages == []
    write_data(tmp_path / "data", "abcdefghijklmnopqrstuvwxyz", sad="abcdefghijklmnopqrstuvwxyz")
    assert check_data(tmp_path, repo, "seeds=1 2") == 0
    assert caplog.messages == [
        "protocol loso: 26 folds and 26 to tune in; 234 trainings (104 blstmatt, 104 csa_30, 26 majority), "
        "234 decodings",
        "234 trainings are many; fewer folds (a protocol such as kfold of egs/csv), systems or seeds make "
        "fewer, --dry-run lists them",
    ]
    caplog.clear()
    assert check_data(tmp_path, repo, "protocol=kfold", "systems=majority blstmatt") == 0
    assert caplog.messages == ["protocol kfold: 5 folds; 10 trainings (5 majority, 5 blstmatt), 10 decodings"]
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "exp").exists()


def test_a_class_that_a_test_subset_lacks_is_told_before_the_features(
    tmp_path: Path, repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_data(tmp_path / "data", "abcdefgh", sad="abcdefg")
    assert check_data(tmp_path, repo, "set=corpus:protocols.loso.dev=null") == 0
    assert caplog.messages == [
        "protocol loso: 1 subset lacks a class (h test has no sad): its mean recall is over the classes that"
        " it has"
    ]


def test_what_the_protocol_lacks_is_told_before_the_features(tmp_path: Path, repo: Path) -> None:
    write_data(tmp_path / "data", "abcd", sad="a")
    with pytest.raises(SerError) as error:
        check_data(tmp_path, repo, "set=corpus:protocols.loso.dev=null")
    data = tmp_path / "data" / "all"
    assert str(error.value) == (
        f"{data}/utt2emo: fold a has no sad to train on; leave the class out of "
        f"{repo}/egs/csv/conf/corpus.yaml, or choose another protocol"
    )
    with pytest.raises(SerError) as error:
        check_data(tmp_path, repo, "set=corpus:protocols.loso.test=[e]")
    assert str(error.value) == f"protocols.loso.test: {data} has no speaker e; known are a, b, c, d"
    tables.write_table(data / "utt2session", {f"{s}-{n}": s for s in "abcd" for n in (1, 2)})
    with pytest.raises(SerError) as error:
        check_data(
            tmp_path, repo, "set=corpus:protocols.loso={group: session, test: ['5'], dev: null, keep: {}}"
        )
    assert str(error.value) == f"protocols.loso.test: {data} has no session 5; known are a, b, c, d"


def test_drawn_folds_before_there_is_data(tmp_path: Path, repo: Path) -> None:
    experiment = read_experiment(None, ["protocol=kfold"])
    settings = work_out_settings(experiment, repo / "egs" / "csv" / "conf" / "corpus.yaml", Path())
    plan = work_out(experiment, settings, tmp_path / "exp", tmp_path / "data")
    assert [line.name for line in expected_folds(plan, settings)] == [f"<fold {n} of 5>" for n in range(1, 6)]


# --------------------------------------------------------------------------------- transcripts and dialogues


def test_word_vectors_are_seen_from_where_they_are_named(
    tmp_path: Path,
) -> None:
    """An option's from the shell's folder, as --set's are; a file's from its own; then absolute."""
    system = "systems=multimodal_small both=multimodal majority"
    for options in (["word_vectors=glove.txt"], ["set=text.vectors=glove.txt"]):
        plan = plan_of(tmp_path, system, *options)
        for name in ("multimodal_small", "both"):
            text = resolved(tmp_path, name)["text"]
            assert isinstance(text, dict)
            assert text["vectors"] == str(Path("glove.txt").resolve())
        assert [planned.beyond_audio for planned in plan.systems] == [True, True, False]
    asked = tmp_path / "mine" / "asked.yaml"
    asked.parent.mkdir()
    asked.write_text("systems: multimodal_small\nword_vectors: glove.txt\n")
    (asked.parent / "own.yaml").write_text("base: multimodal.yaml\ntext: {vectors: ../glove.txt}\n")
    plan_of(tmp_path, file=asked)
    text = resolved(tmp_path, "multimodal_small")["text"]
    assert isinstance(text, dict)
    assert text["vectors"] == str(asked.parent / "glove.txt")
    plan_of(tmp_path, f"systems={asked.parent}/own.yaml")
    text = resolved(tmp_path, "own")["text"]
    assert isinstance(text, dict)
    assert text["vectors"] == str(tmp_path / "glove.txt")


def test_word_vectors_that_nobody_reads(tmp_path: Path) -> None:
    assert refusal(tmp_path, "systems=majority", "word_vectors=glove.txt") == (
        "word_vectors: glove.txt: no system of this experiment reads transcripts; leave it out"
    )


def test_a_corpus_without_dialogues_is_refused_before_the_features(tmp_path: Path) -> None:
    """What the data folder lacks is said once stage 0 has made it; what reads audio alone is not refused."""
    settings = work_out_settings(
        read_experiment(None, ["systems=multimodal_small"]), Path("conf/corpus.yaml"), Path()
    )
    data = tmp_path / "all"
    tables.write_table(data / "utt2spk", {"a-1": "a"})
    with pytest.raises(SerError) as error:
        check_turns(settings, data)
    assert str(error.value).startswith(
        f"{data}/text: no such file, there are no transcripts, which the system reads;"
    )
    tables.write_table(data / "text", {"a-1": "yes"})
    with pytest.raises(SerError) as error:
        check_turns(settings, data)
    assert str(error.value).startswith(
        f"{data}/utt2dialogue: no such file, nothing says the order of dialogues,"
    )
    alone = ["systems=multimodal_small majority", "set=text=null", "set=unit=utterance"]
    check_turns(work_out_settings(read_experiment(None, alone), Path("conf/corpus.yaml"), Path()), data)
