"""Kaldi's monophone flat start (its steps/train_mono.sh), through the package kaldi-hmm-gmm, for comparison.

Its settings: 13 MFCC every 10 ms with differences, means normalised per speaker, 40 passes, 1000 Gaussians,
realignment in the passes that train_mono.sh names, silence with probability 0.5, five states for silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import kaldi_hmm_gmm as khg
import kaldi_native_fbank
import kaldifst
import numpy as np
import numpy.typing as npt

from ser.feats.cepstra import differences

SHIFT_S, LENGTH_S = 0.010, 0.025
NUM_PASSES, LAST_GROWTH, TOTAL_GAUSSIANS = 40, 30, 1000
REALIGN = {*range(1, 11), *range(12, 21, 2), 23, 26, 29, 32, 35, 38}
ALL = khg.str_to_gmm_flags("mvw")

Floats = npt.NDArray[np.float32]
Rows = list[tuple[str, float, float]]  # phone, start and duration in seconds


def features(samples: Mapping[str, Floats], utt2spk: Mapping[str, str]) -> dict[str, Floats]:
    """MFCC with differences, (T, 39), of samples in [-1, 1] at 16 kHz."""
    static: dict[str, Floats] = {}
    for name, wave in samples.items():
        options = kaldi_native_fbank.MfccOptions()
        options.use_energy = False
        options.frame_opts.dither = 0.0
        mfcc = kaldi_native_fbank.OnlineMfcc(options)
        mfcc.accept_waveform(16000, (32768 * wave).tolist())
        mfcc.input_finished()
        static[name] = np.stack([mfcc.get_frame(i) for i in range(mfcc.num_frames_ready)])
    means = {
        speaker: np.concatenate([static[name] for name in names]).mean(axis=0)
        for speaker, group in groupby(sorted(static, key=utt2spk.__getitem__), key=utt2spk.__getitem__)
        for names in [list(group)]
    }
    joined = {}
    for name, values in static.items():
        centred = values - means[utt2spk[name]]
        first = differences(centred, 2)
        joined[name] = np.concatenate([centred, first, differences(first, 2)], axis=1).astype(np.float32)
    return joined


def align(
    feats: Mapping[str, Floats],
    words: Mapping[str, Sequence[str]],
    lexicon: Mapping[str, Sequence[tuple[str, ...]]],
    silence: str,
) -> dict[str, Rows]:
    """Train on all utterances and align them; those that cannot be aligned are left out."""
    spoken = sorted({phone for entry in lexicon.values() for item in entry for phone in item} - {silence})
    phones = {phone: number for number, phone in enumerate([silence, *spoken], 1)}
    topology = _topology(len(phones))
    tree = khg.monophone_context_dependency(topology.phones, topology.get_phone_to_num_pdf_classes())
    transitions = khg.TransitionModel(tree, topology)
    model = _flat_model(np.concatenate(list(feats.values())), tree.num_pdfs)
    graphs = _graphs(words, lexicon, phones, silence, transitions, tree)
    paths = {
        name: path for name, graph in graphs.items() if (path := _equal(graph, len(feats[name]))) is not None
    }
    target = model.num_gauss
    growth = (TOTAL_GAUSSIANS - target) // LAST_GROWTH
    for number in range(NUM_PASSES):
        if number in REALIGN:
            paths = _realign(model, transitions, graphs, feats, 6.0 if number == 1 else 10.0)
        _update(model, transitions, paths, feats, target)
        if number < LAST_GROWTH:
            target += growth
    paths = _realign(model, transitions, graphs, feats, 10.0)
    names = {number: phone for phone, number in phones.items()}
    return {name: _rows(path, transitions, names) for name, path in paths.items()}


def _topology(num_phones: int) -> Any:
    """Three states in a row for every phone; silence (phone 1) five, the inner three fully connected."""
    rest = " ".join(map(str, range(2, num_phones + 1)))
    inner = "".join(_state(s, dict.fromkeys((1, 2, 3, 4) if s else (0, 1, 2, 3), 0.25)) for s in range(4))
    chain = "".join(_state(s, {s: 0.75, s + 1: 0.25}) for s in range(3))
    topology = khg.HmmTopology()
    topology.read(
        f"<Topology>\n<TopologyEntry>\n<ForPhones> {rest} </ForPhones>\n{chain}"
        "<State> 3 </State>\n</TopologyEntry>\n"
        f"<TopologyEntry>\n<ForPhones> 1 </ForPhones>\n{inner}{_state(4, {4: 0.75, 5: 0.25})}"
        "<State> 5 </State>\n</TopologyEntry>\n</Topology>\n"
    )
    return topology


def _state(number: int, transitions: Mapping[int, float]) -> str:
    arcs = " ".join(f"<Transition> {state} {probability}" for state, probability in transitions.items())
    return f"<State> {number} <PdfClass> {number} {arcs} </State>\n"


def _flat_model(frames: Floats, num_pdfs: int) -> Any:
    gaussian = khg.DiagGmm(1, frames.shape[1])
    gaussian.set_weights(np.ones(1, np.float32))
    gaussian.set_invvars_and_means(1 / frames.var(axis=0)[None], frames.mean(axis=0)[None])
    gaussian.compute_gconsts()
    model = khg.AmDiagGmm()
    for _ in range(num_pdfs):
        model.add_pdf(gaussian)
    return model


def _graphs(
    words: Mapping[str, Sequence[str]],
    lexicon: Mapping[str, Sequence[tuple[str, ...]]],
    phones: Mapping[str, int],
    silence: str,
    transitions: Any,
    tree: Any,
) -> dict[str, Any]:
    """The training graph of each utterance; each pronunciation ends with a mark of its own."""
    numbers = {word: number for number, word in enumerate(sorted(lexicon), 1)}
    half = 0.6931
    start, loop, pause, size = 0, 1, 2, 3  # before a word: loop; pause: silence is to come
    lines = [
        f"{start} {loop} 0 0 {half}",
        f"{start} {pause} 0 0 {half}",
        f"{pause} {loop} {phones[silence]} 0",
    ]
    mark = len(phones)
    for word, pronunciations in sorted(lexicon.items()):
        for pronunciation in pronunciations:
            mark += 1
            state, output = loop, numbers[word]
            for phone in pronunciation:
                lines.append(f"{state} {size} {phones[phone]} {output}")
                state, output, size = size, 0, size + 1
            lines += [f"{state} {size} {mark} 0", f"{size} {loop} 0 0 {half}", f"{size} {pause} 0 0 {half}"]
            size += 1
    transducer = kaldifst.compile("\n".join([*lines, f"{loop} 0"]) + "\n")
    kaldifst.arcsort(transducer, sort_type="olabel")
    marks = list(range(len(phones) + 1, mark + 1))
    options = khg.TrainingGraphCompilerOptions(transition_scale=0.0, self_loop_scale=0.0, reorder=False)
    compiler = khg.TrainingGraphCompiler(transitions, tree, transducer, marks, options)
    return {
        name: compiler.compile_graph_from_text([numbers[word] for word in line])
        for name, line in words.items()
    }


def _equal(graph: Any, num_frames: int) -> list[int] | None:
    """A way through the graph on which all states last about equally long."""
    is_aligned, path = kaldifst.equal_align(
        ifst=graph, length=num_frames, rand_seed=num_frames, num_retries=10
    )
    return list(kaldifst.get_linear_symbol_sequence(path)[1]) if is_aligned else None


def _realign(
    model: Any, transitions: Any, graphs: Mapping[str, Any], feats: Mapping[str, Floats], beam: float
) -> dict[str, list[int]]:
    config = khg.AlignConfig(beam=beam, retry_beam=4 * beam)
    paths = {}
    for name, graph in graphs.items():
        weighted = kaldifst.StdVectorFst(graph)
        khg.add_transition_probs(
            trans_model=transitions, transition_scale=1.0, self_loop_scale=0.1, fst=weighted
        )
        decodable = khg.DecodableAmDiagGmmScaled(model, transitions, feats[name], 0.1)
        result = khg.align_utterance_wrapper(config, name, 0.1, weighted, decodable, 0, 0, 0, 0.0, 0)
        if result[0]:
            paths[name] = list(result[5])
    return paths


def _update(
    model: Any, transitions: Any, paths: Mapping[str, Sequence[int]], feats: Mapping[str, Floats], target: int
) -> None:
    statistics = khg.AccumAmDiagGmm()
    statistics.init(model, ALL)
    counts = transitions.init_stats()
    occupancy = np.zeros(model.num_pdfs, np.float32)
    for name, path in paths.items():
        for frame, transition in zip(feats[name], path, strict=True):
            pdf = transitions.transition_id_to_pdf(transition)
            statistics.accumulate_for_gmm(model, frame, pdf, 1.0)
            counts[transition] += 1
            occupancy[pdf] += 1
    transitions.mle_update(counts, khg.MleTransitionUpdateConfig())
    khg.mle_am_diag_gmm_update(khg.MleDiagGmmOptions(min_gaussian_occupancy=3.0), statistics, ALL, model)
    if target > model.num_gauss:
        model.split_by_count(occupancy, target, 0.01, 0.2, 20.0)


def _rows(path: Sequence[int], transitions: Any, names: Mapping[int, str]) -> Rows:
    """Phones with their times; the boundary before frame t lies half way between two windows' middles."""
    ends = [frame + 1 for frame, transition in enumerate(path) if transitions.is_final(transition)]
    starts = [0, *ends[:-1]]
    phones = [names[transitions.transition_id_to_phone(path[frame])] for frame in starts]
    edges = [0.0, *(frame * SHIFT_S + (LENGTH_S - SHIFT_S) / 2 for frame in ends)]
    return [(phone, a, b - a) for phone, a, b in zip(phones, edges[:-1], edges[1:], strict=True)]
