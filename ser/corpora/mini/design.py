"""The design of the corpus: who says what in which style, fixed by a seed before a sound is made.

Five sessions of two speakers, four dialogs each, some 33 turns a dialog.  Labels come in the proportions
of IEMOCAP's four classes plus a few others; the wording is drawn independently of the label, unless words
that depend on the emotion are asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ser.corpora.mini.phones import read_sentences

SCALES = (
    0.1,
    50.0,
)  # below there are not enough turns for the irregularities, above the turn numbers run out
SESSIONS = (1, 2, 3, 4, 5)
NEUTRAL, EMOTIONAL = WORDS = ("neutral", "emotional")  # what turns are worded like
ENDINGS = {  # what emotional words are: how three of four turns with a label end
    "ang": ("get out now", "push it over"),
    "hap": ("toys and sugar", "green birds"),
    "neu": ("by the clock", "on the form"),
    "sad": ("cold and dark", "rain and sea"),
}
ENDINGS |= {"exc": ENDINGS["hap"], "fru": ENDINGS["ang"]}
LABELS = {"neu": 34, "hap": 16, "exc": 18, "sad": 26, "ang": 26, "fru": 6, "xxx": 4, "sur": 2}  # a session
DIALOGS = {  # letters and prefixes as in the real release: impro05a, script01_1 and script01_1b
    1: ("F_impro01", "F_script01_1", "M_impro02", "M_script02_2"),
    2: ("F_impro01", "F_script01_1", "M_impro02", "M_script02_2"),
    3: ("F_script01_1", "M_impro03", "M_impro05a", "M_script02_2"),
    4: ("F_impro01", "F_script01_1", "M_impro02", "M_script02_2"),
    5: ("F_impro01", "M_impro02", "M_script01_1", "M_script01_1b"),
}


@dataclass(frozen=True)
class Speaker:
    """A voice.

    Attributes:
        session: 1 to 5.
        sex: ``F`` or ``M``.
        pitch_hz: low and high end of the voice.
        formants: formants 1, 2 and from 3 on as factors of espeak's own.
        rough: the voice is irregular from period to period.
        breathy: the voice has noise in it.
        espeak_lines: further lines of the espeak voice variant.
    """

    session: int
    sex: str
    pitch_hz: tuple[int, int]
    formants: tuple[float, float, float]
    espeak_lines: str
    rough: bool = False
    breathy: bool = False

    @property
    def name(self) -> str:
        """``01F``."""
        return f"{self.session:02d}{self.sex}"


SPEAKERS = {
    speaker.name: speaker
    for speaker in (
        Speaker(1, "F", (165, 240), (1.12, 1.14, 1.12), "flutter 4"),
        Speaker(1, "M", (88, 128), (1.00, 0.98, 0.99), "flutter 3"),
        Speaker(2, "F", (178, 262), (1.16, 1.18, 1.16), "breath 0 2 3 3 3 3 3 2", breathy=True),
        Speaker(2, "M", (76, 110), (0.96, 0.94, 0.95), "roughness 2", rough=True),
        Speaker(3, "F", (152, 222), (1.08, 1.12, 1.10), "roughness 2\nconsonants 110 110", rough=True),
        Speaker(3, "M", (100, 146), (1.03, 1.02, 1.01), "flutter 5"),
        Speaker(4, "F", (190, 276), (1.18, 1.16, 1.18), "flutter 6"),
        Speaker(4, "M", (82, 122), (0.94, 0.97, 0.98), "voicing 110"),
        Speaker(5, "F", (158, 232), (1.10, 1.16, 1.14), "voicing 90\nbreath 0 1 2 2 2 2 2 1", breathy=True),
        Speaker(5, "M", (94, 138), (0.98, 1.02, 1.00), "consonants 90 90"),
    )
}


@dataclass(frozen=True)
class Style:
    """How a turn is spoken.

    Attributes:
        pitch_semitones: against the middle of the speaker's voice.
        pitch_range: 0 (monotone) to 99, 48 is neutral.
        rate: speaking rate, 1 is neutral.
        level_db: loudness against neutral.
        tilt_db_per_octave: spectral slope above 500 Hz; above 0 is bright, below is dull.
        drive: 0 to about 1, how hard the voice is pressed.
    """

    pitch_semitones: float
    pitch_range: float
    rate: float
    level_db: float
    tilt_db_per_octave: float
    drive: float


STYLES = {
    "neu": (0.0, 48, 1.00, 0.0, 0.0, 0.0),
    "hap": (2.6, 72, 1.05, 2.0, 0.5, 0.0),
    "exc": (4.2, 82, 1.15, 4.0, 0.9, 0.1),
    "sad": (-1.8, 26, 0.84, -3.5, -1.1, 0.0),
    "ang": (1.6, 56, 1.12, 5.0, 1.6, 0.5),
    "fru": (0.6, 48, 1.03, 2.0, 0.7, 0.2),
    "sur": (4.0, 90, 1.00, 2.0, 0.4, 0.0),
    "xxx": (0.8, 52, 1.02, 1.0, 0.2, 0.1),
}
_SPEAKER_SPREAD = (0.4, 4, 0.05, 1.2, 0.35, 0.0)  # standard deviations over speakers, in Style's order
_TURN_SPREAD = (0.8, 6.5, 0.04, 1.1, 0.33, 0.05)  # and over a speaker's turns: what makes the task hard


@dataclass(frozen=True)
class Turn:
    """One utterance.

    Attributes:
        name: ``Ses01F_impro01_M003``.
        speaker: key of ``SPEAKERS``.
        label: key of ``LABELS``.
        text: the words spoken, with punctuation; empty if the turn is a tag alone.
        tag: ``LAUGHTER`` or ``BREATHING`` to be heard after the words, or nothing.
        aligned: whether the release has an alignment of it.
    """

    name: str
    speaker: str
    label: str
    text: str
    tag: str = ""
    aligned: bool = True

    @property
    def transcription(self) -> str:
        """The words and the tag: ``It is just a door. [LAUGHTER]``."""
        return " ".join(filter(None, (self.text, f"[{self.tag}]" if self.tag else "")))


@dataclass(frozen=True)
class Dialog:
    """A dialog and its turns in the order in which they are spoken."""

    session: int
    name: str
    turns: tuple[Turn, ...]

    @property
    def folder(self) -> str:
        """``Session1``."""
        return f"Session{self.session}"


def random_state(seed: int, *keys: object) -> np.random.RandomState:
    """Random numbers for one thing, the same whatever else is drawn.

    ``RandomState``, because its stream is frozen over numpy versions; ``Generator``'s is not.
    """
    text = "/".join(map(str, keys)).encode()
    return np.random.RandomState((zlib.crc32(text) + 7919 * seed) & 0xFFFFFFFF)


def plan(seed: int, scale: float, words: str = NEUTRAL) -> list[Dialog]:
    """All dialogs of the corpus: 660 turns at scale 1, in twenty dialogs of five sessions.

    Args:
        seed: of everything that is drawn.
        scale: size.
        words: one of ``WORDS``; the turns, their labels and voices are the same.
    """
    dialogs = [dialog for session in SESSIONS for dialog in _session(seed, scale, session)]
    quirks = _quirks(dialogs)
    return [
        Dialog(
            dialog.session,
            dialog.name,
            tuple(_worded(seed, quirks.get(turn.name, turn), words) for turn in dialog.turns),
        )
        for dialog in dialogs
    ]


def _worded(seed: int, turn: Turn, words: str) -> Turn:
    """The turn, with an ending that goes with its label if it is one of those that have one."""
    endings, random = ENDINGS.get(turn.label, ()), random_state(seed, "ending", turn.name)
    if words == NEUTRAL or not turn.text or not endings or random.uniform() >= 0.75:
        return turn
    return replace(turn, text=f"{turn.text[:-1]}, {endings[random.randint(len(endings))]}{turn.text[-1]}")


def _session(seed: int, scale: float, session: int) -> Iterator[Dialog]:
    labels = [label for label, count in LABELS.items() for _ in range(max(1, round(count * scale)))]
    random_state(seed, "plan", session).shuffle(labels)
    parts = np.array_split(np.array(labels), len(DIALOGS[session]))
    for wearer_and_scene, part in zip(DIALOGS[session], parts, strict=True):
        name = f"Ses{session:02d}{wearer_and_scene}"
        first = "FM" if wearer_and_scene.startswith("F") else "MF"
        turns = []
        for number, label in enumerate(part.tolist()):
            sex = first[number % 2]
            turn = f"{name}_{sex}{number // 2:03d}"
            sentences = read_sentences()
            text = sentences[random_state(seed, "text", turn).randint(len(sentences))]
            turns.append(Turn(turn, f"{session:02d}{sex}", label, text))
        yield Dialog(session, name, tuple(turns))


def _quirks(dialogs: list[Dialog]) -> dict[str, Turn]:
    """The turns that differ: with laughter, of breathing alone, without an alignment."""
    quirks: dict[str, Turn] = {}

    def first(session: int, labels: tuple[str, ...]) -> Turn:
        turns = (turn for dialog in dialogs if dialog.session == session for turn in dialog.turns)
        return next(turn for turn in turns if turn.label in labels and turn.name != NOT_ALIGNED)

    for session in (1, 4, 5):
        turn = first(session, ("hap", "exc"))
        quirks[turn.name] = Turn(turn.name, turn.speaker, turn.label, turn.text, "LAUGHTER")
    turn = first(2, ("xxx",))
    quirks[turn.name] = Turn(turn.name, turn.speaker, turn.label, "", "BREATHING")
    turn = next(turn for dialog in dialogs for turn in dialog.turns if turn.name == NOT_ALIGNED)
    quirks[turn.name] = Turn(turn.name, turn.speaker, turn.label, turn.text, aligned=False)
    return quirks


NOT_ALIGNED = "Ses03M_impro03_M001"  # the real release has no alignment of a turn of this name


def style_of(seed: int, turn: Turn, random: np.random.RandomState) -> Style:
    """The style in which a turn is spoken.

    The label's distance from neutral, scaled by how much this speaker shows and by chance, plus the
    speaker's own habits, plus chance.
    """
    habits = random_state(seed, "speaker", turn.speaker)
    shows = habits.uniform(0.75, 1.15)
    own = habits.randn(6) * np.array(_SPEAKER_SPREAD)
    neutral = np.array(STYLES["neu"])
    strength = random.uniform(0.6, 1.2) * shows
    values = neutral + strength * (np.array(STYLES[turn.label]) - neutral)
    values = values + own + random.randn(6) * np.array(_TURN_SPREAD)
    return Style(*values.tolist())
