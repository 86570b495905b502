"""Speech emotion recognition, a Kaldi-style recipe after Jalal, Milner & Hain (Interspeech 2020).

What one can run are the modules of ``ser.verbs``, as ``ser <verb>`` or ``python3 -m ser <verb>``.  The other
packages are what they are made of, and import downwards only::

    serving, export         a page and an endpoint; ONNX, TorchScript, packages
    predict                 a trained model on recordings: posteriors, emotion over time
    reporting, interpret    tables, figures, the report; attention over phones and words
    align, learn            forced alignment; training, checkpoints, decoding
    experiment > plan       what is asked for; every training, decoding, fusion that follows
    systems                 one file a system
    corpora, feats, scoring one file a corpus; one file a feature set; metrics, significance, fusion
    data > cli, config > errors
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ser.predict.model import Model

__version__ = "0.1.0"


def load(name_or_path: str | Path, allow: Sequence[str] = (), use_gpu: str = "auto") -> Model:
    """A trained model, ready to use; see :class:`ser.predict.model.Model`.

    Args:
        name_or_path: a model folder, such as ``exp/<fold>/<system>/seed1``; a package, or the folder that it
            was unpacked to; the name of a model that comes with ser, ``"emodb"``.
        allow: code outside ``ser`` that the model may name, which is then imported.
        use_gpu: auto, yes or no; for networks.

    Raises:
        CheckpointError: there is no usable model, or it names code that is not allowed.
    """
    from ser.predict import model  # what it needs takes seconds to import

    return model.load(name_or_path, allow, use_gpu)
