"""Score posteriors against the references of a data folder, and compare two systems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.data import files, tables
from ser.data.labels import EMOTIONS, read_emotions, read_utt2emo, same_emotions
from ser.data.naming import RAW_IDS, utterances_by_raw_id
from ser.errors import DataError, examples
from ser.scoring import significance
from ser.scoring.metrics import METRICS, Counts, Floats, Scores, confusion_matrix, decide, score
from ser.scoring.posteriors import Posteriors, input_files, read_posteriors
from ser.scoring.significance import Interval

INTERVALS = ("acc", "uar")  # the scores that get an interval over speakers
NUM_DRAWS, SEED = 1000, 0  # of the bootstrap over speakers, where nothing else is asked for
_REFERENCE_TABLES = (EMOTIONS, "utt2emo", "utt2spk")


@dataclass(frozen=True)
class References:
    """Class and speaker of every utterance of a data folder."""

    folder: Path
    emotions: tuple[str, ...]
    labels: dict[str, int]  # utterance -> class index
    speakers: dict[str, str]  # utterance -> speaker


@dataclass(frozen=True)
class Scored:
    """Posteriors joined with their references: N scored utterances (or chunks), K classes."""

    keys: list[str]  # N, sorted
    references: Counts  # (N,) class indices
    posteriors: Floats  # (N, K)
    speakers: list[str]
    n_total: int  # also those that the system did not score

    @property
    def hypotheses(self) -> Counts:
        """The decided class indices, (N,)."""
        return decide(self.posteriors)

    def only(self, chosen: set[str]) -> Scored:
        """The rows of the chosen keys."""
        rows = [row for row, key in enumerate(self.keys) if key in chosen]
        keys, speakers = [self.keys[row] for row in rows], [self.speakers[row] for row in rows]
        return Scored(keys, self.references[rows], self.posteriors[rows], speakers, self.n_total)


def read_references(folder: Path) -> References:
    """Read ``emotions.txt``, ``utt2emo`` and ``utt2spk`` of a data folder."""
    emotions = read_emotions(folder / EMOTIONS)
    labels = read_utt2emo(folder / "utt2emo", emotions)
    speakers = tables.read_table(folder / "utt2spk", made_by="stage 0")
    tables.same_keys(labels, folder / "utt2emo", speakers, folder / "utt2spk")
    index = {name: number for number, name in enumerate(emotions)}
    return References(folder, emotions, {utt: index[name] for utt, name in labels.items()}, speakers)


def reference_files(name: str, folder: Path) -> dict[str, Path]:
    """The tables of references that a data folder has, for ``made.json``: ``<name>/<table>`` -> path."""
    return {f"{name}/{table}": folder / table for table in _REFERENCE_TABLES if (folder / table).exists()}


def match(output: Posteriors, references: References, *, allow_missing: bool = False) -> Scored:
    """Join posteriors and references by key.

    Args:
        output: over utterances, or over chunks when it has a ``chunk2utt``.
        references: of every utterance that the system was given.
        allow_missing: take utterances (chunks) without posteriors and without a line in ``not_scored``
            for not scored.

    Raises:
        DataError: posteriors of utterances the data folder does not have, or missing ones.
    """
    utts = output.chunk2utt or {utt: utt for utt in references.labels}
    expected = f"{output.name}/chunk2utt" if output.chunk2utt else str(references.folder / "utt2emo")
    strange = (output.keys - utts.keys()) or (set(utts.values()) - references.labels.keys())
    if strange:
        raise DataError(
            f"{output.name}: {len(strange)} keys are not in {references.folder / 'utt2emo'}"
            f"{' by way of ' + expected if output.chunk2utt else ''} ({examples(sorted(strange))}); "
            f"{_naming_remedy(strange, references.folder)}"
        )
    missing = utts.keys() - output.keys
    if missing and not allow_missing:
        raise DataError(
            f"{output.name}/post: {len(missing)} of the {len(utts)} keys of {expected} are missing "
            f"({examples(sorted(missing))}) and not in not_scored; decode again, or score with "
            "--allow-missing true"
        )
    keys = sorted(output.posteriors)
    return Scored(
        keys=keys,
        references=np.array([references.labels[utts[key]] for key in keys], np.int64),
        posteriors=np.stack([output.posteriors[key] for key in keys]),
        speakers=[references.speakers[utts[key]] for key in keys],
        n_total=len(utts),
    )


def _naming_remedy(keys: set[str], folder: Path) -> str:
    """What to do about keys that are no utterances of a data folder."""
    if keys <= utterances_by_raw_id(folder).keys():
        return f"they are raw ids; write the names that {folder / RAW_IDS} has for them, and sort again"
    return "score with the data folder that was decoded"


# ---------------------------------------------------------------------------------------------- one system


def score_folder(
    data_dir: Path,
    decode_dir: Path,
    *,
    key2utt: Path | None = None,
    allow_missing: bool = False,
    num_draws: int = NUM_DRAWS,
    seed: int = SEED,
) -> dict[str, str]:
    """Score a decode folder into ``<decode_dir>/score/{result.txt,confusion.txt,errors.txt}``.

    Nothing is written when the score is there and was made from the same files with the same options.

    Args:
        data_dir: the references: ``emotions.txt``, ``utt2emo``, ``utt2spk``.
        decode_dir: posteriors, see :mod:`ser.scoring.posteriors`.
        key2utt: a map chunk -> utterance to use in place of ``<decode_dir>/chunk2utt``.
        allow_missing: see :func:`match`.
        num_draws: draws of the bootstrap over speakers.
        seed: of the bootstrap.

    Returns:
        What ``result.txt`` holds.
    """
    folder = decode_dir / "score"
    settings = {"allow_missing": allow_missing, "bootstrap": num_draws, "seed": seed}
    inputs = input_files({"system": decode_dir}) | reference_files("data", data_dir)
    if key2utt and key2utt.exists():
        inputs["key2utt"] = key2utt
    outputs = [folder / name for name in ("result.txt", "confusion.txt", "errors.txt")]
    if files.is_made(folder, settings, inputs):
        return tables.read_table(outputs[0])
    references = read_references(data_dir)
    output = read_posteriors(decode_dir, key2utt=key2utt)
    same_emotions(data_dir / EMOTIONS, decode_dir / EMOTIONS)
    scored = match(output, references, allow_missing=allow_missing)
    result = evaluate(
        scored, output.emotions, by_chunk=bool(output.chunk2utt), num_draws=num_draws, seed=seed
    )
    result |= {f"note_{key}": value for key, value in output.notes.items()}
    (folder / files.MADE).unlink(missing_ok=True)
    tables.write_table(outputs[0], result)
    counts = confusion_matrix(scored.references, scored.hypotheses, len(output.emotions))
    with files.whole_file(outputs[1]) as stream:
        stream.write(confusion_text(counts, output.emotions))
    with files.whole_file(outputs[2]) as stream:
        stream.writelines(f"{line}\n" for line in error_lines(scored, output.emotions))
    files.write_made(folder, settings, inputs, outputs)
    return result


def evaluate(
    scored: Scored, emotions: Sequence[str], *, by_chunk: bool, num_draws: int, seed: int
) -> dict[str, str]:
    """The lines of ``result.txt``: shares in [0, 1] with six decimals, ``-`` for what does not exist.

    ``acc_ci_*`` is the binomial interval (``-`` over chunks, which are not independent), ``*_boot_*`` the
    interval over speakers (``-`` with one speaker).
    """
    confusions = significance.by_speaker(scored.references, scored.hypotheses, scored.speakers, len(emotions))
    scores = score(confusions.sum(0))
    result = {name: _number(value) for name, value in scores.values.items()}
    right = int((scored.references == scored.hypotheses).sum())
    result |= _interval("acc_ci", None if by_chunk else significance.binomial(right, scores.n_scored))
    for name in INTERVALS:
        result |= _interval(f"{name}_boot", significance.bootstrap(confusions, name, num_draws, seed))
    result |= _per_class(scores, emotions)
    return result | {
        "level": "chunk" if by_chunk else "utt",
        "n_classes": str(len(emotions)),
        "n_classes_scored": str(scores.n_classes_scored),
        "n_scored": str(scores.n_scored),
        "n_speakers": str(len(confusions)),
        "n_total": str(scored.n_total),
    }


def _per_class(scores: Scores, emotions: Sequence[str]) -> dict[str, str]:
    lines = {}
    for name, recall, precision in zip(emotions, scores.recalls, scores.precisions, strict=True):
        lines[f"recall_{name}"] = _number(recall)
        lines[f"precision_{name}"] = _number(precision)
    return lines


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.6f}"


def _interval(name: str, interval: Interval | None) -> dict[str, str]:
    low, high = map(_number, interval or (math.nan, math.nan))
    return {f"{name}_low": low, f"{name}_high": high}


def confusion_text(counts: Counts, emotions: Sequence[str]) -> str:
    """The confusion matrix (K, K) for display: counts, then per cent of each reference's row."""
    width = max(6, *map(len, emotions)) + 1
    head = " " * width + "".join(f"{name:>{width}}" for name in emotions)
    lines = ["rows: references, columns: hypotheses", "", head + f"{'total':>{width}}"]
    for name, row in zip(emotions, counts.tolist(), strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"{count:>{width}}" for count in [*row, sum(row)]))
    columns = counts.sum(0).tolist()
    lines.append(f"{'total':<{width}}" + "".join(f"{count:>{width}}" for count in [*columns, sum(columns)]))
    lines += ["", "per cent of the row", "", head]
    for name, row in zip(emotions, counts.tolist(), strict=True):
        shares = [f"{100 * count / sum(row):.1f}" if sum(row) else "-" for count in row]
        lines.append(f"{name:<{width}}" + "".join(f"{share:>{width}}" for share in shares))
    return "\n".join(lines) + "\n"


def error_lines(scored: Scored, emotions: Sequence[str]) -> list[str]:
    """``<utt> <reference> <hypothesis> <p(hypothesis)> <p(reference)>``, the surest mistakes first."""
    mistakes = []
    for key, reference, hypothesis, row in zip(
        scored.keys, scored.references, scored.hypotheses, scored.posteriors, strict=True
    ):
        if reference != hypothesis:
            names = f"{emotions[reference]} {emotions[hypothesis]}"
            mistakes.append((-row[hypothesis], f"{key} {names} {row[hypothesis]:.4f} {row[reference]:.4f}"))
    return [line for _, line in sorted(mistakes)]


def summary(decode_dir: Path, result: Mapping[str, str]) -> str:
    """A result in a few lines, per cent."""
    unit = {"utt": "utterances", "chunk": "chunks"}[result["level"]]
    lines = [
        str(decode_dir),
        f"  {result['n_scored']} of {result['n_total']} {unit} scored, {result['n_speakers']} speakers",
        f"  acc    {_per_cent(result['acc'])}  95 %: {_range(result, 'acc_ci')} binomial, "
        f"{_range(result, 'acc_boot')} over speakers",
        f"  uar    {_per_cent(result['uar'])}  95 %: {_range(result, 'uar_boot')} over speakers",
        f"  ua_eq6 {_per_cent(result['ua_eq6'])}  wa_eq6 {_per_cent(result['wa_eq6'])}  "
        f"macro_f1 {_per_cent(result['macro_f1'])}",
    ]
    if result["n_classes_scored"] != result["n_classes"]:
        lines.append(
            f"  only {result['n_classes_scored']} of {result['n_classes']} classes have references; "
            "uar is the mean over these"
        )
    lines += [
        f"  {key.removeprefix('note_')}: {value}" for key, value in result.items() if key[:5] == "note_"
    ]
    return "\n".join(lines)


def _per_cent(text: str) -> str:
    return f"{'-':>5}" if text == "-" else f"{100 * float(text):5.1f}"


def _range(result: Mapping[str, str], name: str) -> str:
    low, high = result[f"{name}_low"], result[f"{name}_high"]
    return "-" if low == "-" else f"[{_per_cent(low).strip()}, {_per_cent(high).strip()}]"


# --------------------------------------------------------------------------------------------- two systems


def compare_folders(
    data_dir: Path, first: Path, second: Path, *, num_draws: int, seed: int
) -> dict[str, str]:
    """Compare two systems on the utterances that both scored.

    Args:
        data_dir: the references.
        first: a decode folder.
        second: another, of the same utterances.
        num_draws: draws of the paired bootstrap over speakers.
        seed: of the bootstrap.

    Returns:
        ``<score>_{first,second,diff,diff_low,diff_high,p}`` (diff = second - first), the four counts of
        McNemar's table and its ``mcnemar_p``, ``n_compared``, ``n_total``, ``n_speakers``.

    Raises:
        DataError: as :func:`match`, or no utterance is scored by both.
    """
    pair = _scored_by_both(data_dir, first, second)
    one, two = (
        significance.by_speaker(each.references, each.hypotheses, each.speakers, each.posteriors.shape[1])
        for each in pair
    )
    right = [each.hypotheses == each.references for each in pair]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    result = {
        "mcnemar_p": _number(significance.mcnemar(only_first, only_second)),
        "n_both_right": str(int((right[0] & right[1]).sum())),
        "n_both_wrong": str(int((~right[0] & ~right[1]).sum())),
        "n_compared": str(len(pair[0].keys)),
        "n_only_first_right": str(only_first),
        "n_only_second_right": str(only_second),
        "n_speakers": str(len(one)),
        "n_total": str(pair[0].n_total),
    }
    for name in INTERVALS:
        change = significance.paired_bootstrap(one, two, name, num_draws, seed)
        result[f"{name}_first"] = _number(float(METRICS[name](one.sum(0))))
        result[f"{name}_second"] = _number(float(METRICS[name](two.sum(0))))
        result[f"{name}_diff"] = _number(change.value)
        result |= _interval(f"{name}_diff", change.interval)
        result[f"{name}_p"] = "-" if change.p is None else _number(change.p)
    return result


def _scored_by_both(data_dir: Path, first: Path, second: Path) -> list[Scored]:
    """Two systems joined with the references, each cut down to the utterances that both scored."""
    references = read_references(data_dir)
    pair = []
    for folder in (first, second):
        same_emotions(data_dir / EMOTIONS, folder / EMOTIONS)
        pair.append(match(read_posteriors(folder), references))
    common = set(pair[0].keys) & set(pair[1].keys)
    if not common:
        raise DataError(
            f"{second}: scores no utterance that {first} scores; compare systems of the same data"
        )
    return [each.only(common) for each in pair]


def comparison_text(first: Path, second: Path, result: Mapping[str, str]) -> str:
    """Summary of a comparison, for display, per cent."""
    lines = [
        f"A  {first}",
        f"B  {second}",
        f"{result['n_compared']} of {result['n_total']} utterances scored by both, "
        f"{result['n_speakers']} speakers",
        f"{'':<6}{'A':>7}{'B':>7}{'B - A':>8}   {'95 % over speakers':<20}{'p':>7}",
    ]
    for name in INTERVALS:
        p = result[f"{name}_p"]
        lines.append(
            f"{name:<6}{_per_cent(result[name + '_first']):>7}{_per_cent(result[name + '_second']):>7}"
            f"{100 * float(result[name + '_diff']):>+8.1f}   {_range(result, name + '_diff'):<20}"
            f"{p if p == '-' else f'{float(p):.4f}':>7}"
        )
    lines += [
        f"right in A only {result['n_only_first_right']}, in B only {result['n_only_second_right']}, "
        f"in both {result['n_both_right']}, in neither {result['n_both_wrong']}",
        f"McNemar's exact test, utterances as independent: p {float(result['mcnemar_p']):.4f}",
    ]
    return "\n".join(lines)
