"""From a data folder and a lexicon to a folder with a phone model.

The folder is self-contained: ``model.npz``, ``align.yaml``, ``fbank.yaml``, ``phones.yaml``, ``lexicon.txt``.
"""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ser import config
from ser.align import hmm, phone_model
from ser.align.lexicon import Lexicon, read_lexicon, write_lexicon
from ser.align.phone_model import AlignConfig, Example, Search
from ser.align.speech import INPUTS, Speech, read_transcripts
from ser.data import files
from ser.data.phones import PhoneSet, load_phones
from ser.errors import DataError

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
) -> None:
    """Train a phone model, unless ``out`` has just that.

    Raises:
        StaleError: ``out`` was made from something else.
        DataError: a table is missing, words are not in the lexicon, or no utterance can be used.
    """
    wanted = config.to_dict(settings)
    inputs = {name: data / name for name in INPUTS} | {LEXICON: lexicon_path, PHONES: phones_path}
    for path in inputs.values():
        if not path.exists():
            raise DataError(f"{path}: no such file; run the step that makes it")
    remedy = f"choose another folder, or remove it: rm -r {shlex.quote(str(out))}"
    if files.is_made(out, wanted, inputs, remedy=remedy):
        log.info("%s: up to date", out)
        return
    phones = load_phones(phones_path)
    lexicon = read_lexicon(lexicon_path, phones)
    words = read_transcripts(data, lexicon, lexicon_path)
    speech = Speech(data, settings)
    symbols = sorted(
        {phone for entry in lexicon.values() for item in entry for phone in item} | {silence(phones)}
    )
    chosen = _spread(_usable(words, lexicon, speech, settings), speech, settings.max_minutes)
    if not chosen:
        raise DataError(
            f"{data / 'text'}: no utterance is long enough for its words; is it of these recordings?"
        )
    minutes = sum(speech.num_frames[name] for name in chosen) * speech.shift_s / 60
    log.info("training %d phones on %d utterances, %.1f minutes", len(symbols), len(chosen), minutes)
    pdfs = phone_model.first_pdfs(symbols, settings.states)
    examples = [
        _example(name, words[name], lexicon, speech, settings, pdfs, silence(phones)) for name in chosen
    ]
    model = phone_model.train(examples, symbols, settings, search, progress)
    with files.locked(out):
        shutil.copyfile(data / "align" / "fbank.yaml", out / "fbank.yaml")
        shutil.copyfile(phones_path, out / PHONES)
        write_lexicon(out / LEXICON, lexicon)
        with files.whole_file(out / phone_model.SETTINGS) as stream:
            stream.write(config.dump(wanted))
        model.save(out / phone_model.MODEL)
        files.write_made(out, wanted, inputs)
    log.info("%s: trained", out)


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
    """At most so many minutes of the utterances, evenly spread."""
    total = sum(speech.num_frames[name] for name in names) * speech.shift_s / 60
    share = min(1.0, max_minutes / total) if total else 1.0
    return [name for i, name in enumerate(names) if int((i + 1) * share) > int(i * share)]


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
