"""The peers of the training bench train the very network that ours is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ser.systems.base import Inputs
from tests.bench.peers import PEERS, Job, Plain
from tests.bench.subsets import write_subset
from tests.gpu.peers import collate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_subset(tmp_path_factory.mktemp("peers") / "train", 4)


@pytest.mark.parametrize("size", ["blstmatt_64", "blstmatt_64_stacked", "csa_small"])
def test_the_networks_are_equal(size: str, data: Path, tmp_path: Path) -> None:
    """With ours' weights the plain network gives ours' logits, of utterances of several lengths."""
    job = Job(size, data, 1, tmp_path)
    ours = PEERS["ours"][1](job, lambda: None).eval()
    plain = Plain(job)
    theirs = plain.network.eval()
    state = ours.state_dict()
    if size.startswith("csa"):
        theirs.network.load_state_dict(state)
    else:
        renamed = {key: value for key, value in state.items() if not key.startswith("encoder.")}
        for side, suffix in (("ahead", ""), ("back", "_reverse")):
            for layer in range(2):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    value = state[f"encoder.{side}.{layer}.{name}_l0"]
                    renamed[f"lstm.{name}_l{layer}{suffix}"] = value
        theirs.load_state_dict(renamed)
    subset = job.subset()
    features = [torch.from_numpy(subset.main.read(row).copy()) for row in range(4)]
    if size.startswith("csa"):
        features = [x for x, _ in plain.items[:4]]
    x, lengths, _ = collate([(x, 0) for x in features])
    with torch.no_grad():
        expected = ours(Inputs.of(x, lengths)).logits
        given = theirs(*collate(plain.items[:4])[:2])
    if size != "blstmatt_64_stacked":
        assert torch.allclose(given, expected, atol=1e-5)
        return
    # peers have no rule for the frames that the last of stacked steps lacks: they read zeros, at full weight
    whole = [row for row, x in enumerate(features) if len(x) % 3 == 0]
    assert torch.allclose(given[whole], expected[whole], atol=1e-5)
