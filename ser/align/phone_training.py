"""From a data folder and a lexicon to a folder with a phone model.

The folder is self-contained: ``model.npz``, ``align.yaml``, ``feats.yaml``, ``phones.yaml``, ``lexicon.txt``.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser import config
from ser.align import hmm, phone_model
from ser.align.features import ALIGN_SET, write_used_set
from ser.align.lexicon import Lexicon, read_lexicon, write_lexicon
from ser.align.phone_model import AlignConfig, Example, Search
from ser.align.speech import Speech, data_files, read_transcripts
from ser.data import files
from ser.data.datadir import MAIN
from ser.data.phones import PhoneSet, load_phones
from ser.errors import DataError
from ser.feats.sets import read_set

log = logging.getLogger("ser")

LEXICON, PHONES = "lexicon.txt", "phones.yaml"


def train_phones(
    settings: AlignConfig,
    phones_path: Path,
    data: Path,
    lexicon_path: Path,
    out: Path,
    search: Search,
    progress: Callable[[Iterable[int], str], Iterable[int]],
    features: str = ALIGN_SET,
) -> None:
    """Train a phone model, unless ``out`` has just that.

    Args:
        settings: of the model.
        phones_path: conf/phones.yaml.
        data: data folder with transcripts and features.
        lexicon_path: a lexicon with all words of the transcripts.
        out: the folder to make.
        search: finds the best path through graphs.
        progress: goes through the rounds, and shows that.
        features: name of the feature set to train on.

    Raises:
        StaleError: ``out`` was made from something else.
        DataError: a table is missing, words are not in the lexicon, or no utterance can be used.
    """
    phones = load_phones(phones_path)
    lexicon = read_lexicon(lexicon_path, phones)
    made_with: dict[str, Any] = {
        "model": config.to_dict(settings),
        "phones": config.to_dict(phones),
        "features": features,
    }
    inputs = {**data_files(data, features), LEXICON: lexicon_path}
    remedy = f"choose another folder, or remove it: rm -r {shlex.quote(str(out))}"
    if files.is_made(out, made_with, inputs, remedy=remedy):
        log.info("%s: up to date", out)
        return
    words = read_transcripts(data, lexicon, lexicon_path)
    symbols = sorted(symbols_of(lexicon) | {silence(phones)})
    examples = _examples(words, lexicon, Speech(data, settings, features), settings, symbols, silence(phones))
    if not examples:
        raise DataError(
            f"{data / 'text'}: no utterance is long enough for its words; is it of these recordings?"
        )
    model = phone_model.train(examples, symbols, settings, search, progress)
    with files.locked(out):
        write_used_set(out, read_set(data, features))
        _write_yaml(out / PHONES, made_with["phones"])
        write_lexicon(out / LEXICON, lexicon)
        _write_yaml(out / phone_model.SETTINGS, made_with["model"])
        model.save(out / phone_model.MODEL)
        names = (MAIN, PHONES, LEXICON, phone_model.SETTINGS, phone_model.MODEL)
        files.write_made(out, made_with, inputs, [out / name for name in names])
    log.info("%s: trained", out)


def symbols_of(lexicon: Lexicon) -> set[str]:
    """All phones that the pronunciations of a lexicon have."""
    return {phone for entry in lexicon.values() for item in entry for phone in item}


def _write_yaml(path: Path, tree: Mapping[str, Any]) -> None:
    with files.whole_file(path) as stream:
        stream.write(config.dump(tree))


def silence(phones: PhoneSet) -> str:
    """The phone that stands for a pause.

    Raises:
        DataError: the phone set has none.
    """
    if not phones.silence:
        raise DataError(f"the phone set {phones.name} has no silence; name one in conf/phones.yaml")
    return phones.silence[0]


def pause(settings: AlignConfig, phones: PhoneSet) -> str | None:
    """The phone that may stand between words; None if none may."""
    return silence(phones) if settings.optional_silence else None


def too_short(num_frames: int, line: Sequence[str], lexicon: Lexicon, num_states: int) -> str:
    """Why an utterance of ``num_frames`` cannot hold its words; empty if it can."""
    needed = num_states * sum(min(map(len, lexicon[word])) for word in line)
    return f"it has {num_frames} frames, its words need {needed}" if num_frames < needed else ""


def _usable(
    words: Mapping[str, Sequence[str]], lexicon: Lexicon, speech: Speech, settings: AlignConfig
) -> list[str]:
    """The utterances that have words and room for their flat start."""
    usable = []
    for name in speech.names:
        if name in words:
            phones = 2 + sum(len(lexicon[word][0]) for word in words[name])
            if phones * settings.states <= speech.num_frames[name]:
                usable.append(name)
    if len(usable) < len(speech.names):
        log.info(
            "%d of %d utterances have no words, or are too short for them; not trained on",
            len(speech.names) - len(usable), len(speech.names),
        )  # fmt: skip
    return usable


def _spread(names: Sequence[str], speech: Speech, max_minutes: float) -> list[str]:
    """At most ``max_minutes`` of the utterances, evenly spread."""
    total = sum(speech.num_frames[name] for name in names) * speech.shift_s / 60
    share = min(1.0, max_minutes / total) if total else 1.0
    return [name for i, name in enumerate(names) if int((i + 1) * share) > int(i * share)]


def _examples(
    words: Mapping[str, Sequence[str]],
    lexicon: Lexicon,
    speech: Speech,
    settings: AlignConfig,
    symbols: Sequence[str],
    silent: str,
) -> list[Example]:
    """The utterances to train on: at most ``settings.max_minutes`` of those that can be used."""
    chosen = _spread(_usable(words, lexicon, speech, settings), speech, settings.max_minutes)
    minutes = sum(speech.num_frames[name] for name in chosen) * speech.shift_s / 60
    log.info("training %d phones on %d utterances, %.1f minutes", len(symbols), len(chosen), minutes)
    pdfs = phone_model.first_pdfs(symbols, settings.states)
    return [_example(name, words[name], lexicon, speech, settings, pdfs, silent) for name in chosen]


def _example(
    name: str,
    line: Sequence[str],
    lexicon: Lexicon,
    speech: Speech,
    settings: AlignConfig,
    pdfs: Mapping[str, int],
    silent: str,
) -> Example:
    frames = speech.frames(name)
    first = [phone for word in line for phone in lexicon[word][0]]
    if settings.optional_silence:
        first = [silent, *first, silent]
    between = silent if settings.optional_silence else None
    graph = hmm.utterance_graph([lexicon[word] for word in line], pdfs, settings.states, between)
    return Example(name, frames, graph, hmm.uniform_path(first, pdfs, settings.states, len(frames)))
