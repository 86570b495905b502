"""The whole corpus as a folder in IEMOCAP's layout, made in parallel, whole or not at all."""

from __future__ import annotations

import functools
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser import cli
from ser.corpora.mini import align, audio, dialog
from ser.corpora.mini.children import each_in_its_own
from ser.corpora.mini.conditions import CONDITIONS, PLAIN, real_conditions, recorded
from ser.corpora.mini.design import (
    NEUTRAL,
    SCALES,
    SPEAKERS,
    WORDS,
    Dialog,
    Turn,
    plan,
    random_state,
    style_of,
)
from ser.corpora.mini.espeak import Espeak, EspeakError
from ser.corpora.mini.formant import SOUNDS, Formant
from ser.corpora.mini.phones import LEXICON, SENTENCES
from ser.corpora.mini.speech import Engine, say
from ser.data.files import MADE, files_below, is_made, locked, write_made
from ser.errors import DataError, UsageError

log = logging.getLogger("ser")

ENGINES = ("auto", "espeak", "formant")
SCALE, SEED, ENGINE = 1.0, 0, "auto"  # where nothing else is asked for
_APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "  # how a ._ file begins
_README = """mini: synthetic emotional speech in the layout of IEMOCAP_full_release.

Made by `python3 -m ser make_mini_corpus` with the engine {engine}, seed {seed}, scale {scale}{others}.
No person speaks here.  Sentences, voices and styles are the recipe's own; labels and ratings are invented.
"""


@dataclass(frozen=True)
class Job:
    """What every process needs to know."""

    root: Path
    seed: int
    engine: Engine
    conditions: str


def make_release(
    out: Path,
    *,
    scale: float = SCALE,
    seed: int = SEED,
    engine: str = ENGINE,
    conditions: str = PLAIN,
    words: str = NEUTRAL,
    num_jobs: int,
) -> bool:
    """Make the corpus.

    Args:
        out: the folder to make.  A mini corpus of other settings in it is replaced.
        scale: size; 1 is 660 turns, 26 minutes, 180 MB.
        seed: same seed, same bytes on one platform.
        engine: ``espeak``, ``formant``, or ``auto``: espeak where it runs, else formant.
        conditions: how turns are recorded, one of ``CONDITIONS``.
        words: whether what is said depends on the emotion, one of ``WORDS``.
        num_jobs: processes; does not change the result.

    Returns:
        whether anything had to be made.

    Raises:
        UsageError: a number out of range.
        DataError: ``out`` holds something else, or cannot be written, or espeak was asked for and
            does not run.
    """
    assert conditions in CONDITIONS
    assert words in WORDS
    _check_numbers(scale, seed, num_jobs)
    _check_replaceable(out)
    with _ready_engine(engine) as ready:
        settings = {"corpus": "mini", "scale": scale, "seed": seed, "engine": ready.name}
        settings |= {"conditions": conditions} if conditions != PLAIN else {}  # records of old hold on
        settings |= {"words": words} if words != NEUTRAL else {}
        inputs = {"lexicon": LEXICON, "sentences": SENTENCES, "sounds": SOUNDS}
        if is_made(out, settings, inputs):
            log.info("%s: is made already", out)
            return False
        try:
            with _whole_folder(out) as part:
                _write_readme(part, settings)
                _make(Job(part, seed, ready, conditions), plan(seed, scale, words), num_jobs)
                write_made(part, settings, inputs, files_below(part))
        except OSError as error:
            raise DataError(
                f"{out}: cannot be written ({error.strerror}); free some space or choose another folder, "
                "then run the same command again"
            ) from error
    return True


def _check_numbers(scale: float, seed: int, num_jobs: int) -> None:
    if not SCALES[0] <= scale <= SCALES[1] or num_jobs < 1 or seed < 0:
        raise UsageError(
            f"scale must lie between {SCALES[0]} and {SCALES[1]}, num-jobs be 1 or more, seed 0 or more; "
            f"got {scale}, {num_jobs}, {seed}"
        )


def _write_readme(root: Path, settings: Mapping[str, object]) -> None:
    others = "".join(f", {key} {settings[key]}" for key in ("conditions", "words") if key in settings)
    text = _README.format(**settings, others=others)
    (root / "README.txt").write_text(text, encoding="ascii")


def _check_replaceable(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        settings: Any = json.loads((out / MADE).read_text(encoding="utf-8"))["settings"]
        if settings["corpus"] == "mini":
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DataError(f"{out}: exists and is no mini corpus; remove it, or choose another folder")


@contextmanager
def _ready_engine(choice: str) -> Iterator[Engine]:
    """The engine to use, initialised; espeak's folder of links lives as long as the context."""
    with tempfile.TemporaryDirectory(prefix="mini") as folder:
        yield _engine(choice, Path(folder))


def _engine(choice: str, folder: Path) -> Engine:
    if choice != "formant":
        try:
            espeak = Espeak()
            espeak.start(folder)
            return espeak
        except EspeakError as error:
            if choice == "espeak":
                raise DataError(
                    f"espeak: {error}; install the extra 'mini', or use the engine formant"
                ) from error
            log.info("espeak-ng is not used (%s); the formant engine speaks instead", error)
    return Formant()


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place if all goes well, and goes otherwise.

    What an earlier process left there when it was killed goes first.
    """
    part = out.with_name(f".{out.name}.part")
    if part.is_symlink():
        raise DataError(f"{part}: is a link, which must not be emptied; remove it")
    with locked(part):
        for entry in part.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != ".lock":
                entry.unlink()
        try:
            yield part
            (part / ".lock").unlink()
            if out.exists():
                shutil.rmtree(out)
            part.replace(out)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _make(job: Job, dialogs: list[Dialog], num_jobs: int) -> None:
    tasks = [(item, turn) for item in dialogs for turn in item.turns]
    made = each_in_its_own(functools.partial(_make_turn, job), tasks, num_jobs)
    num_samples = dict(cli.progress(made, "mini corpus: turns", total=len(tasks)))
    made_dialogs = each_in_its_own(functools.partial(_make_dialog, job, num_samples), dialogs, num_jobs)
    for _ in cli.progress(made_dialogs, "mini corpus: dialogs", total=len(dialogs)):
        pass
    _plant_hidden_files(job.root)
    seconds = sum(num_samples.values()) / audio.RATE_HZ
    log.info("made %d turns, %.1f minutes, with %s", len(tasks), seconds / 60, job.engine.name)


def _make_turn(job: Job, task: tuple[Dialog, Turn]) -> tuple[str, int]:
    """Write a turn's recording and alignments; return its name and number of samples."""
    item, turn = task
    speaker = SPEAKERS[turn.speaker]
    random = random_state(job.seed, "turn", turn.name)
    style = style_of(job.seed, turn, random)
    speech = say(job.engine, turn, speaker, style, random)
    room = audio.room_of(job.seed, item.session)
    samples, lead = audio.in_room(speech.samples, style, room, random)
    if job.conditions == PLAIN:
        samples = audio.with_room_noise(samples, room, random)
    else:
        noises = random_state(job.seed, "noises", turn.name)
        samples, lead = recorded(samples, lead, real_conditions(job.seed, turn), noises)
    sentences = job.root / item.folder / "sentences"
    dialog.write_wav(sentences / "wav" / item.name / f"{turn.name}.wav", audio.to_pcm(samples))
    if turn.aligned:
        rows = align.rows(speech.phones, len(speech.samples), lead, len(samples), random)
        base = sentences / "ForcedAlignment" / item.name
        base.mkdir(parents=True, exist_ok=True)
        (base / f"{turn.name}.phseg").write_text(align.phseg(rows), encoding="ascii")
        (base / f"{turn.name}.wdseg").write_text(align.wdseg(rows, speech.words), encoding="ascii")
        (base / f"{turn.name}.syseg").write_text(align.syseg(rows), encoding="ascii")
    return turn.name, len(samples)


def _make_dialog(job: Job, num_samples: dict[str, int], item: Dialog) -> str:
    placed = dialog.place(item, num_samples, job.seed)
    session = job.root / item.folder
    dialog.write_texts(session / "dialog", item, placed, job.seed)
    mixed = dialog.mix(placed, session / "sentences" / "wav" / item.name)
    dialog.write_wav(session / "dialog" / "wav" / f"{item.name}.wav", mixed)
    return item.name


def _plant_hidden_files(root: Path) -> None:
    """What a Mac left in the real release's archive."""
    for place in (
        "dialog/EmoEvaluation/._Ses01F_impro01.txt",
        "dialog/transcriptions/._Ses01F_impro01.txt",
        "dialog/wav/._Ses01F_impro01.wav",
        "sentences/wav/Ses01F_impro01/._Ses01F_impro01_F000.wav",
        "sentences/ForcedAlignment/.DS_Store",
    ):
        (root / "Session1" / place).write_bytes(_APPLE_DOUBLE)
