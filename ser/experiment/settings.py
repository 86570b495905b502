"""The settings files of an experiment: which they are, and what ``--set`` changes in them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ser import config, systems
from ser.data.corpus import CorpusConfig
from ser.data.tables import check_key
from ser.data.turns import TEXT, VECTORS, asks_for_turns
from ser.errors import ConfigError, DataError, UsageError, shown
from ser.experiment.asked import Experiment, is_path, meant
from ser.feats.sets import DEFAULT_SET, absolute, paths_of
from ser.feats.sets import EXTRAS as SET_EXTRAS
from ser.feats.speech import asks_for_speech
from ser.feats.vad import VadConfig

FOLDERS = (
    "pooled",
    "interpret",
    "alignments",
    "k2",
    "phones",
    "tasks",
    "conf",
)  # of the experiment's folder; no system is called so

LIST = "systems"  # the key of a file that names several
VAD_NAME = "vad"  # of the settings of speech activity


@dataclass
class File:
    """A settings file of the experiment: its values, and which overrides it has taken."""

    source: Path
    tree: dict[str, Any]
    names: tuple[str, ...]  # by which --set may name it
    overrides: list[str] = field(default_factory=list)
    kind: type | None = None  # the class that its settings must fit, where that is known

    def has(self, key: str) -> bool:
        """Whether a dotted key is in it, or may be added: to a mapping of free keys, or to an empty one."""
        tree: Any = self.tree
        *parents, leaf = key.split(".")
        for parent in parents:
            if not isinstance(tree, Mapping) or parent not in tree:
                return False
            tree = tree[parent]
        if not isinstance(tree, Mapping):
            return False
        free = config.accepts(self.kind, key.split(".")) if self.kind else not tree
        return leaf in tree or (bool(parents) and free)


@dataclass
class Chosen:
    """A system that was asked for, before its settings are final."""

    name: str
    stem: str
    context: int | None
    file: File = field(repr=False)


def choose_systems(experiment: Experiment, folder: Path) -> list[Chosen]:
    """The systems that the words name, those trained on chunks once for each of ``contexts``.

    A word's own context goes before these; where neither says one, the settings file does.  The name of a
    list of systems stands for its words.

    Args:
        experiment: what was asked for.
        folder: what relative paths of settings files are seen from, as the shell of who gave them does.

    Raises:
        UsageError: a word names no settings file, or two systems have one name.
        ConfigError: a settings file cannot be read.
    """
    chosen: list[Chosen] = []
    for word, path, context, tree in _named_files(experiment.systems, folder):
        name, sign, _ = word.partition("=")
        stem = name if sign else path.stem
        chunked = isinstance(tree.get("unit"), Mapping) and "context" in tree["unit"]
        if context is not None and not chunked:
            raise UsageError(f"systems: {word}: {path} has no unit.context, so no context can be named")
        if context is not None:
            label = name if sign else f"{stem}_{context}"
            chosen.append(_with_context(label, re.sub(rf"_{context}$", "", label), context, path))
        elif chunked:
            contexts = experiment.contexts or (tree["unit"]["context"],)
            chosen += [_with_context(f"{stem}_{each}", stem, each, path) for each in contexts]
        else:
            chosen.append(Chosen(stem, stem, None, File(path, tree, (stem,))))
    if not chosen:
        raise UsageError("systems: name at least one system, such as majority")
    check_names([system.name for system in chosen], "systems")
    return chosen


class _NamedFile(NamedTuple):
    """What a word of ``systems`` names."""

    word: str
    path: Path
    context: int | None  # that the word says
    tree: dict[str, Any]


def _named_files(words: Sequence[str], folder: Path, inside: tuple[Path, ...] = ()) -> Iterator[_NamedFile]:
    """The settings files that words name, the words of a list of systems in its place.

    Args:
        words: of an experiment, or of a list.
        folder: what relative paths are seen from.
        inside: the lists that the words stand in.
    """
    for word in words:
        file = _named_file(word, folder)
        if LIST not in file.tree:
            yield file
            continue
        if "=" in word or file.context is not None:
            raise UsageError(
                f"systems: {word}: {file.path} is a list of systems, which has no name or context of its "
                f"own; write {file.path.stem}"
            )
        if file.path in inside:
            raise ConfigError(f"{inside[-1]}: {word} is a list that this one is in; name its systems")
        yield from _named_files(_read_list(file.tree, file.path), file.path.parent, (*inside, file.path))


def _named_file(word: str, folder: Path) -> _NamedFile:
    name, sign, conf = word.partition("=")
    path, context = _settings_file(conf if sign else name, folder, word)
    return _NamedFile(word, path, context, config.resolve(path))


def _read_list(tree: Mapping[str, Any], path: Path) -> list[str]:
    """The words of a list of systems.

    Raises:
        ConfigError: the file says something else, or names no systems.
    """
    words = tree[LIST]
    if others := [key for key in tree if key != LIST]:
        raise ConfigError(
            f"{path}: a list of systems has the key {LIST} alone, not {', '.join(others)}; an experiment is "
            "named with --experiment"
        )
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise ConfigError(f"{path}: {LIST} must be a list of systems, got {shown(words)}; correct it")
    return words


def _with_context(name: str, stem: str, context: int, path: Path) -> Chosen:
    tree = config.resolve(path, [f"unit.context={context}"])
    return Chosen(name, stem, context, File(path, tree, (name, stem)))


def _settings_file(conf: str, folder: Path, word: str) -> tuple[Path, int | None]:
    """The settings file that a word means, and the context it names."""
    match = re.fullmatch(r"(.+)_(\d{1,9})", conf, re.ASCII)
    for stem, context in [(conf, None)] + ([(match[1], int(match[2]))] if match else []):
        path = folder / stem if is_path(stem) else config.find_conf(f"{stem}.yaml")
        if path.is_file():
            return path, context
    if is_path(conf):
        path = folder / conf
        what = "is a folder" if path.is_dir() else "no such file"
        raise UsageError(f"systems: {word}: {path}: {what}; name a YAML file")
    known = sorted(_known_systems())
    near = difflib.get_close_matches(conf, known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    raise UsageError(f"systems: {word}: there is no conf/{conf}.yaml; {meant}")


def _known_systems() -> set[str]:
    """Settings files of systems in the recipe's and the shared ``conf/``."""
    places = [path for folder in (Path("conf"), config.SHARED) for path in folder.glob("*.yaml")]
    return {
        path.stem for path in places if re.search(r"^(systems?|base):", path.read_text("utf-8"), re.MULTILINE)
    }


def check_names(names: Sequence[str], what: str) -> None:
    """Refuse names that cannot be folders beside each other.

    Raises:
        UsageError: one has odd characters, stands twice, or is taken.
    """
    for name in names:
        try:
            check_key(name, what)
        except DataError as error:
            raise UsageError(str(error)) from error
        if names.count(name) > 1:
            raise UsageError(f"{what}: {name} is named twice; give one of them another name, NAME={name}")
        if name in FOLDERS:
            raise UsageError(f"{what}: {name} is a folder of every experiment; choose another name")


def override(files: Sequence[File], texts: Sequence[str]) -> list[str]:
    """Apply overrides ``[NAME:]KEY=VALUE`` to the files that they are for; the rest is returned.

    Raises:
        ConfigError: a value that is no YAML.
        UsageError: the context of a system, which its name says; a key that the named file has not.
    """
    left = []
    for text in texts:
        name, key = _target(text)
        taken = [file for file in files if (name in file.names if name else file.has(key))]
        if any(key == "unit.context" for _ in taken):
            raise UsageError(f"--set {text}: contexts are said with --contexts, or behind a system's name")
        for file in taken:
            first = key.split(".")[0]
            if first not in file.tree:
                raise UsageError(f"--set {text}: {file.source} has no key {first}; {meant(first, file.tree)}")
            change = text.removeprefix(f"{name}:") if name else text
            config.apply(file.tree, change)
            file.overrides.append(change)
        if not taken:
            left.append(text)
    return left


def _target(text: str) -> tuple[str, str]:
    """The file that an override names, or nothing, and its key."""
    key, _, _ = text.partition("=")
    name, sign, rest = key.partition(":")
    return (name, rest) if sign else ("", key)


def refuse_unused(texts: Sequence[str], files: Sequence[File]) -> None:
    """Refuse overrides that no file of the experiment has taken.

    Raises:
        UsageError: there are some; the nearest key or file is named.
    """
    for text in texts:
        name, key = _target(text)
        if name:
            known = list(dict.fromkeys(each for file in files for each in file.names))
            raise UsageError(
                f"--set {text}: there is no system, feature set or corpus {name}; {meant(name, known)}"
            )
        keys = {each for file in files for each in _keys(file.tree)}
        near = difflib.get_close_matches(key, keys, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; --set NAME:KEY=VALUE names the file"
        raise UsageError(f"--set {text}: no settings file of this experiment has the key {key}{hint}")


def _keys(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for name, value in tree.items():
        keys.append(f"{prefix}{name}")
        if isinstance(value, Mapping):
            keys += _keys(value, f"{prefix}{name}.")
    return keys


@dataclass(frozen=True)
class Settings:
    """All settings files of an experiment, with their overrides."""

    corpus: File
    sets: dict[str, File]  # the main one first
    systems: list[Chosen]
    config: CorpusConfig
    protocol: str
    vad: File | None  # how speech activity is decided; None: no system asks for it


def work_out_settings(experiment: Experiment, corpus_conf: Path, folder: Path) -> Settings:
    """Read and override every settings file.

    Args:
        experiment: what was asked for.
        corpus_conf: the corpus's settings.
        folder: what relative paths of systems, and those of ``set``, are seen from.

    Raises:
        ConfigError, UsageError: something is unknown or does not fit.
    """
    chosen = choose_systems(experiment, folder)
    corpus = File(corpus_conf, config.resolve(corpus_conf), ("corpus",), kind=CorpusConfig)
    own = [system.file for system in chosen]
    texts = list(experiment.set)
    left = override([*own, corpus], texts)
    _set_word_vectors(own, experiment.word_vectors, folder)
    vad = _vad_file(own)
    shared = [] if vad is None else [vad]
    # one that a system or the corpus took may be for speech activity or a feature set too
    unused = set(override(shared, texts))
    sets = {}
    for name in _set_names(chosen, vad):
        path = _set_file(name, chosen)
        sets[name] = File(path, config.resolve(path), (name,))
    unused &= set(override(list(sets.values()), texts))
    for file in sets.values():
        _make_absolute(file, folder)
    refuse_unused([text for text in left if text in unused], [*own, corpus, *shared, *sets.values()])
    settings = replace(config.build(CorpusConfig, corpus.tree, str(corpus_conf)), source=str(corpus_conf))
    name, _ = settings.named_protocol(experiment.protocol)
    corpus.tree["protocol"] = name
    return Settings(corpus, sets, chosen, settings, name, vad)


def _set_word_vectors(own: Sequence[File], given: str | None, folder: Path) -> None:
    """Give systems that read transcripts the word vectors of the experiment; make their paths absolute."""
    readers = [file for file in own if asks_for_turns(file.tree)[0]]
    if given is not None and not readers:
        raise UsageError(
            f"word_vectors: {given}: no system of this experiment reads transcripts; leave it out"
        )
    for file in readers:
        text, key = file.tree[TEXT], f"{TEXT}.{VECTORS}"
        if given is not None and VECTORS in text:
            text[VECTORS] = given
            file.overrides.append(f"{key}={json.dumps(given)}")
        if isinstance(text.get(VECTORS), str):
            named = {override.partition("=")[0] for override in file.overrides}
            text[VECTORS] = absolute(text[VECTORS], folder if named & {TEXT, key} else file.source.parent)


def _make_absolute(file: File, folder: Path) -> None:
    """Make a set's paths absolute: a file's are seen from its own folder, those of --set from ``folder``."""
    given = {text.partition("=")[0] for text in file.overrides}
    for key, path in paths_of(file.tree).items():
        file.tree[key] = absolute(path, folder if key in given else file.source.parent)
        file.overrides.append(f"{key}={json.dumps(file.tree[key])}")


def _vad_file(own: Sequence[File]) -> File | None:
    """The settings of speech activity, of the recipe or the shared ones, if a system asks for it."""
    if not any(asks_for_speech(file.tree) for file in own):
        return None
    path = config.find_conf(f"{VAD_NAME}.yaml")
    return File(path, config.resolve(path), (VAD_NAME,))


def _set_names(chosen: Sequence[Chosen], vad: File | None) -> list[str]:
    """The default set, which is the data folder's main one whatever is read, then those that are read."""
    names = [name for system in chosen for name in sets_of(system.file, copies=True)]
    if vad is not None:
        names.append(config.build(VadConfig, vad.tree, str(vad.source)).set)
    return list(dict.fromkeys([DEFAULT_SET, *names]))


def _set_file(name: str, chosen: Sequence[Chosen]) -> Path:
    """The settings file of a feature set.

    It is looked for beside those systems of one's own that read it, then in the recipe's ``conf/``, then in
    the shared one.
    """
    readers = [system.file.source for system in chosen if name in sets_of(system.file, copies=True)]
    beside = [path.parent for path in readers if path.parent.resolve() != config.SHARED]
    own = (folder / f"{name}.yaml" for folder in beside)
    return next((path for path in own if path.is_file()), config.find_conf(f"{name}.yaml"))


def sets_of(file: File, *, copies: bool = False) -> tuple[str, ...]:
    """The feature sets that a system's settings name; with ``copies`` also those that it trains on besides.

    Raises:
        ConfigError: they are no lists of names.
    """
    features = file.tree.get("features", {"sets": []})
    named = dict(features) if isinstance(features, Mapping) else {}
    lists = [named.get("sets"), *(named.get("copies") or [])]
    for names in lists:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            key = "features.sets must be a list" if names is lists[0] else "features.copies must be lists"
            raise ConfigError(f"{file.source}: {key} of feature sets, got {names!r}; correct it")
    return tuple(chain(*lists if copies else lists[:1]))


def extras(settings: Settings) -> list[str]:
    """What ``utils/install.sh --extra`` must have installed for the systems and feature sets."""
    codes = [str(system.file.tree.get("system")) for system in settings.systems]
    names = [systems.EXTRAS[code] for code in codes if code in systems.EXTRAS]
    extractors = [str(file.tree.get("extractor")) for file in settings.sets.values()]
    return list(dict.fromkeys(names + [SET_EXTRAS[name] for name in extractors if name in SET_EXTRAS]))
