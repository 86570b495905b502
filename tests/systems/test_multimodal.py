"""The multimodal network: its equations by loops, blocked modalities, dialogues, padding, batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ser import config, systems
from ser.learn.loaders import pad_words
from ser.systems.base import Inputs, Sizes
from ser.systems.multimodal import ModelSettings, Multimodal, TextSettings, build

TEXT = TextSettings(min_count=1, embedding=5, vectors=None, rate=1.0, kernels=(1, 3), channels=4)
MODEL = ModelSettings(dim=6, heads=3, roles=2, role_values=3, dropout=0.5, modality_dropout=0.6)
WORDS = ("a", "b", "c", "d")
State = dict[str, npt.NDArray[np.float64]]
LENGTHS = [3, 1, 4]  # utterances of each dialogue


def make(**changes: Any) -> Multimodal:
    """A network in evaluation mode; networks of the same seed share the weights of layers that both have."""
    options: dict[str, Any] = {
        "num_values": 7,
        "words": WORDS,
        "num_classes": 4,
        "context": True,
        "text": TEXT,
    }
    torch.manual_seed(1)
    return Multimodal(**options | {"model": MODEL} | changes).eval()


def state_of(network: Multimodal) -> State:
    return {name: value.double().numpy() for name, value in network.state_dict().items()}


def batch(lengths: list[int] = LENGTHS, seed: int = 2) -> Inputs:
    """Utterances of some dialogues, one without a transcript."""
    rng = np.random.default_rng(seed)
    number = sum(lengths)
    words = [rng.integers(1, 6, size=rng.integers(1, 7)) for _ in range(number)]
    words[1] = words[1][:0]
    return Inputs(
        {"functionals": torch.from_numpy(rng.normal(size=(number, 7)).astype(np.float32))},
        {},
        pad_words(words),
        torch.tensor(lengths),
        torch.from_numpy(rng.integers(0, 4, size=number)),
    )


def logits(network: Multimodal, inputs: Inputs) -> npt.NDArray[np.float64]:
    with torch.inference_mode():
        given: npt.NDArray[np.float64] = network(inputs).logits.double().numpy()
    return given


# ------------------------------------------------------------------------------------ an independent loop


def linear(state: State, name: str, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    y: npt.NDArray[Any] = state[f"{name}.weight"] @ x + state.get(f"{name}.bias", 0.0)
    return y


def sigmoid(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    y: npt.NDArray[Any] = 1 / (1 + np.exp(-x))
    return y


def softmax(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    powers = np.exp(x - x.max())
    shares: npt.NDArray[Any] = powers / powers.sum()
    return shares


def encoded(state: State, words: list[int]) -> npt.NDArray[Any]:
    """Kim's encoder: the maximum over all places of each kernel, whose words behind the last are zeros."""
    table, maxima = state["text.embedding.weight"], []
    for number, size in enumerate(TEXT.kernels):
        kernel, bias = (state[f"text.convolutions.{number}.{part}"] for part in ("weight", "bias"))
        best = np.zeros(TEXT.channels)
        for start in range(len(words)):
            total = bias.copy()
            for offset in range(min(size, len(words) - start)):
                total += kernel[:, :, offset] @ table[words[start + offset]]
            best = np.maximum(best, total)
        maxima.append(best)
    return np.concatenate(maxima)


def fused(state: State, x: npt.NDArray[Any], words: list[int]) -> npt.NDArray[Any]:
    audio = np.tanh(linear(state, "audio", x))
    if not words:
        return audio
    text = np.tanh(linear(state, "text_projection", encoded(state, words)))
    scores = [
        linear(state, "fusion.score", np.tanh(linear(state, "fusion.projection", b))) for b in (audio, text)
    ]
    alpha = softmax(np.concatenate(scores))
    both: npt.NDArray[Any] = alpha[0] * audio + alpha[1] * text
    return both


def gru(state: State, name: str, sequence: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Torch's gates, in the order reset, update, new."""
    weights = {part: state[f"context.gru.{name}.0.{part}"] for part in ("weight_ih_l0", "weight_hh_l0")}
    biases = {part: state[f"context.gru.{name}.0.{part}"] for part in ("bias_ih_l0", "bias_hh_l0")}
    h, outputs = np.zeros(MODEL.dim), []
    for x in sequence:
        i = np.split(weights["weight_ih_l0"] @ x + biases["bias_ih_l0"], 3)
        j = np.split(weights["weight_hh_l0"] @ h + biases["bias_hh_l0"], 3)
        reset, update = sigmoid(i[0] + j[0]), sigmoid(i[1] + j[1])
        h = (1 - update) * np.tanh(i[2] + reset * j[2]) + update * h
        outputs.append(h)
    return outputs


def attended(state: State, h: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Each utterance's own and what it gathers of all of its dialogue."""
    weight, bias = (state[f"context.attention.in_proj_{part}"] for part in ("weight", "bias"))
    size = 2 * MODEL.dim // MODEL.heads
    q, k, v = (
        [w @ each + b for each in h] for w, b in zip(np.split(weight, 3), np.split(bias, 3), strict=True)
    )
    outputs = []
    for one in range(len(h)):
        parts = []
        for head in range(MODEL.heads):
            own = slice(head * size, (head + 1) * size)
            alpha = softmax(np.array([q[one][own] @ k[two][own] / np.sqrt(size) for two in range(len(h))]))
            parts.append(sum(a * v[two][own] for two, a in enumerate(alpha)))
        outputs.append(h[one] + linear(state, "context.attention.out_proj", np.concatenate(parts)))
    return outputs


def test_the_network_is_its_equations() -> None:
    network, inputs = make(), batch()
    state, first = state_of(network), 0
    assert inputs.words is not None
    assert inputs.roles is not None
    expected = []
    for length in LENGTHS:
        f = []
        for row in range(first, first + length):
            words = [number for number in inputs.words[row].tolist() if number]
            f.append(fused(state, inputs.features["functionals"][row].double().numpy(), words))
            f[-1] = np.concatenate([f[-1], state["roles.weight"][min(1, int(inputs.roles[row]))]])
        ahead, back = gru(state, "ahead", f), gru(state, "back", f[::-1])[::-1]
        h = attended(state, [np.concatenate(pair) for pair in zip(ahead, back, strict=True)])
        expected += [linear(state, "classifier", each) for each in h]
        first += length
    np.testing.assert_allclose(logits(network, inputs), expected, atol=1e-5)


# ------------------------------------------------------------------------------------------- modalities


@pytest.mark.parametrize("context", [True, False])
def test_a_modality_that_is_blocked_leaves_the_other_alone(context: bool) -> None:
    both, audio = make(context=context), make(context=context, text=None)
    text = make(context=context, num_values=0)
    for alone in (audio, text):
        missing = alone.load_state_dict(both.state_dict(), strict=False)
        assert missing.missing_keys == []
    assert audio.fusion is None
    assert text.fusion is None
    inputs = batch()
    assert inputs.words is not None
    silent = replace(inputs, words=torch.zeros_like(inputs.words))
    np.testing.assert_allclose(logits(both, silent), logits(audio, inputs), atol=1e-6)
    assert np.abs(logits(both, inputs) - logits(audio, inputs)).max() > 1e-3
    fusion = both.fusion
    assert fusion is not None
    b, there = torch.randn(5, 2, 6), torch.tensor([[True, False], [False, True]] * 2 + [[True, True]])
    for row, (one, two) in enumerate(there.tolist()):
        given = fusion(b[row : row + 1], there[row : row + 1])[0]
        if one != two:
            torch.testing.assert_close(given, b[row, int(two)])
        else:
            assert not torch.allclose(given, b[row, 0])
    loud = replace(inputs, features={"functionals": 1e3 * inputs.features["functionals"]})
    np.testing.assert_array_equal(logits(text, loud), logits(text, inputs))


# -------------------------------------------------------------------------------- dialogues and batches


def test_other_dialogues_change_nothing() -> None:
    """An utterance sees all of its own dialogue, also what comes later, and nothing of others."""
    network, inputs = make(), batch()
    before = logits(network, inputs)
    x = inputs.features["functionals"].clone()
    x[6] += 2.0  # in the last dialogue, utterances 4 to 7
    after = logits(network, replace(inputs, features={"functionals": x}))
    np.testing.assert_array_equal(after[:4], before[:4])
    assert np.abs(after[4:] - before[4:]).max(axis=1).min() > 1e-4
    alone = logits(make(context=False), replace(inputs, dialogues=None, roles=None))
    changed = logits(make(context=False), replace(inputs, features={"functionals": x}))
    assert [row for row in range(8) if np.abs(alone[row] - changed[row]).max() > 0] == [6]


def test_padding_and_batches_change_nothing() -> None:
    network, inputs = make(), batch()
    whole = logits(network, inputs)
    assert inputs.words is not None
    assert inputs.roles is not None
    padded = replace(inputs, words=torch.nn.functional.pad(inputs.words, (0, 5)))
    np.testing.assert_allclose(logits(network, padded), whole, atol=1e-6)
    begins = np.cumsum([0, *LENGTHS])
    for order in ([2, 0, 1], [1], [0, 2]):
        rows = np.concatenate([np.arange(begins[one], begins[one + 1]) for one in order])
        some = Inputs(
            {"functionals": inputs.features["functionals"][rows]},
            {},
            inputs.words[rows],
            torch.tensor([LENGTHS[one] for one in order]),
            inputs.roles[rows],
        )
        np.testing.assert_allclose(logits(network, some), whole[rows], atol=1e-6)


def test_who_speaks_matters_but_not_who_of_many() -> None:
    network, inputs = make(), batch()
    assert inputs.roles is not None
    many = replace(inputs, roles=torch.where(inputs.roles > 0, 7, 0))
    np.testing.assert_array_equal(logits(network, many), logits(network, inputs))
    assert (
        np.abs(
            logits(network, replace(inputs, roles=1 - inputs.roles.clamp(max=1))) - logits(network, inputs)
        ).max()
        > 1e-4
    )
    nobody = make(model=replace(MODEL, role_values=0))
    assert nobody.roles is None
    np.testing.assert_array_equal(
        logits(nobody, replace(inputs, roles=0 * inputs.roles)), logits(nobody, inputs)
    )


def test_padding_has_no_vector_and_learns_none() -> None:
    network = make().train()
    assert network.text is not None
    weight = network.text.embedding.weight
    torch.testing.assert_close(weight[0], torch.zeros(5))
    assert float(weight.detach().abs().max()) <= 0.25
    network(batch()).logits.square().sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad[0], torch.zeros(5))


def test_training_reads_one_modality_alone_of_some_utterances() -> None:
    """Of those that have both; in decoding of none."""
    network = make(model=replace(MODEL, dropout=0.0)).train()
    there = torch.tensor([[True, True]] * 6000 + [[True, False]] * 10)
    torch.manual_seed(0)
    some = network._some(there)
    assert some.any(dim=1).all()
    assert torch.equal(some[6000:], there[6000:])
    shares = [
        float((some[:6000] == torch.tensor(kind)).all(dim=1).float().mean())
        for kind in ([1, 1], [1, 0], [0, 1])
    ]
    np.testing.assert_allclose(shares, [0.4, 0.3, 0.3], atol=0.02)
    assert torch.equal(network.eval()._some(there), there)


def test_parameters_of_the_default_sizes() -> None:
    """With ComParE's 6,373 values: 1,132,174, and a vector of 300 for each word of the vocabulary."""
    _, settings = systems.load_settings(config.SHARED / "multimodal.yaml")
    for words in (0, 50):
        sizes = Sizes({"compare": 6373}, 4, {}, words=tuple(map(str, range(words))))
        network = build(settings, sizes)
        assert sum(parameter.numel() for parameter in network.parameters()) == 1_132_174 + 300 * words
