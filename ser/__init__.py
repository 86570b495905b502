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

__version__ = "0.1.0"
