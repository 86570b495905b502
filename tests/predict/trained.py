"""Models for tests of prediction: of the real kinds and feature sets, with weights that were drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ser import config, systems
from ser.data.corpus import AudioConfig
from ser.feats.sets import load_set
from ser.learn.models import save_model
from ser.systems.base import Sizes

REPO = Path(__file__).resolve().parents[2]
EMOTIONS = ("ang", "hap", "neu", "sad")
SMALL = {
    "csa": ["model.channels=[4,8,8]", "model.attn_reduction=4", "unit.context=30"],
    "blstmatt": ["model.hidden=8", "model.attention_dim=4"],
}


def make_model(folder: Path, system: str = "csa", norm: str = "global", seed: int = 0) -> Path:
    """A model folder whose posteriors differ from input to input."""
    small = [*SMALL[system], f"features.norm={norm}", "features.vad.use=none", "features.cmvn.over=all"]
    tree = config.resolve(REPO / "conf" / f"{system}_small.yaml", small)
    kind, settings = systems.build_settings(tree, "settings")
    features = load_set(REPO / "conf" / "fbank.yaml", AudioConfig(16000, None, "refuse")).to_dict()
    sizes = Sizes({"fbank": 23}, len(EMOTIONS), {})
    torch.manual_seed(seed)
    network = kind.build(settings, sizes)
    arrays = {name: 2.0 * values.numpy() for name, values in network.state_dict().items()}
    stats = np.zeros((2, 24))
    stats[:, :-1] = [[1500.0], [25000.0]]  # of 100 frames: mean 15, deviation 5
    stats[0, -1] = 100
    save_model(
        folder,
        settings=settings,
        emotions=EMOTIONS,
        sets={"fbank": features},
        sizes=sizes,
        arrays=arrays,
        stats={"fbank": stats},
        facts={"seed": seed},
    )
    return folder
