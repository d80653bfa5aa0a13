import json
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import tscl
from tscl.data.datasets import SimulatedSpeech
from tscl.data.speech import LogMel, SpeechDataModule, synthesise_speech
from tscl.data.speech.arrays import same_rows
from tscl.encoders import BrainConv, DilatedConvEncoder
from tscl.errors import ConfigError, DataError, DataNotFoundError

SMALL = {
    "virtual": 12,
    "hidden": 16,
    "depth": 2,
    "n_frequencies": 4,
    "spatial_dropout": 0.0,
    "max_epochs": 12,
    "batch_size": 32,
    "lr": 3e-3,
    "random_state": 0,
    "accelerator": "cpu",
}
C, F, T = 8, 4, 40
RNG = np.random.default_rng(0)
SPEECH = RNG.normal(size=(48, F, T + 4)).cumsum(axis=2)
SPEECH = (SPEECH[:, :, 4:] - SPEECH[:, :, :-4]).astype("float32") / 2
PEOPLE = "abcd"
MIXING = {one: RNG.normal(size=(C, F)) for one in "abcde"}
POSITIONS = {one: RNG.random((C, 2)) for one in "abcde"}
POSITIONS["d"] = POSITIONS["d"][:6]
TEST, TRAIN = np.arange(12), np.arange(12, 48)


def heard(subject, segments, noise=1.0):
    """Everyone's sensors carry the speech in a mixture of their own; d has two sensors less."""
    x = MIXING[subject] @ SPEECH[segments] + noise * RNG.normal(size=(len(segments), C, T))
    if subject == "d":
        x[:, 6:] = np.nan
    return x.astype("float32")


def world(segments):
    x = np.concatenate([heard(one, segments) for one in PEOPLE])
    return x, SPEECH[np.tile(segments, 4)], np.repeat(list(PEOPLE), len(segments)), np.tile(segments // 4, 4)


X, Y, WHO, SEQUENCE = world(TRAIN)
X_TEST, Y_TEST, WHO_TEST, _ = world(TEST)


@pytest.fixture(scope="module")
def fitted():
    positions = {one: POSITIONS[one] for one in PEOPLE}
    return tscl.SpeechDecoder(**SMALL).fit(X, Y, subject=WHO, positions=positions, sequence=SEQUENCE)


def test_speech_that_was_never_heard_is_found(fitted):
    assert fitted.score(X_TEST, Y_TEST, subject=WHO_TEST) > 0.7
    assert fitted.score(X_TEST, Y_TEST, subject=WHO_TEST, k=3) > 0.9
    shuffled = RNG.permutation(len(X_TEST))
    assert fitted.score(X_TEST, Y_TEST[shuffled], subject=WHO_TEST) < 0.3
    assert fitted.subjects_ == list(PEOPLE)
    assert fitted.positions_["d"].shape == (C, 2)
    np.testing.assert_allclose(fitted.positions_["d"][:6], POSITIONS["d"], rtol=1e-6)
    assert np.isnan(fitted.positions_["d"][6:]).all()
    assert {"epoch", "train/loss", "val/loss", "val/accuracy"} <= set(fitted.history_)
    assert fitted.encoder_.training is False


def test_ranks_probabilities_and_score_agree(fitted):
    candidates = SPEECH[TEST]
    given = {"subject": WHO_TEST}
    probabilities = fitted.predict_proba(X_TEST, candidates, **given)
    ranks = fitted.rank(X_TEST, candidates, **given)
    assert probabilities.shape == ranks.shape == (48, 12)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert np.array_equal(np.sort(ranks, axis=1), np.tile(np.arange(12), (48, 1)))
    assert (np.diff(np.take_along_axis(probabilities, ranks, axis=1), axis=1) <= 0).all()
    assert np.array_equal(fitted.predict(X_TEST, candidates, **given), ranks[:, 0])
    z = fitted.transform(X_TEST, **given).reshape(48, -1)
    unit = candidates.reshape(12, -1) / np.linalg.norm(candidates.reshape(12, -1), axis=1, keepdims=True)
    expected = np.exp(z @ unit.T - (z @ unit.T).max(1, keepdims=True))
    np.testing.assert_allclose(probabilities, expected / expected.sum(1, keepdims=True), rtol=1e-3, atol=1e-6)
    for k in (1, 4):
        own = (ranks[:, :k] == np.tile(TEST, 4)[:, None]).any(1).mean()
        assert fitted.score(X_TEST, Y_TEST, k=k, **given) == pytest.approx(own)


def test_an_unseen_subject_and_its_calibration(fitted, tmp_path):
    calibration, test = heard("e", TRAIN), heard("e", TEST)
    new = np.full(len(TEST), "e")
    with pytest.raises(DataError, match=r"the sensors of the subjects \['e'\] are not known from fit: pass positions"):
        fitted.transform(test, subject=new)
    before = fitted.score(test, SPEECH[TEST], subject=new, positions={"e": POSITIONS["e"]})
    assert 0 <= before <= 1
    adapted = tscl.SpeechDecoder.from_pretrained(fitted.save_pretrained(tmp_path / "fitted"))
    with pytest.raises(DataError, match=r"the sensors of the subjects \['e'\] are not known"):
        adapted.adapt(calibration, SPEECH[TRAIN], subject="e")
    adapted.adapt(calibration, SPEECH[TRAIN], subject="e", positions=POSITIONS["e"], steps=60, lr=0.03)
    assert adapted.subjects_ == [*PEOPLE, "e"]
    assert adapted.score(test, SPEECH[TEST], subject=new) >= max(before + 0.3, 0.6)
    for one, value in fitted.encoder_.state_dict().items():
        now = adapted.encoder_.state_dict()[one]
        assert torch.equal(now[:4] if one == "subjects.matrices" else now, value), one
    np.testing.assert_allclose(
        adapted.transform(X_TEST, subject=WHO_TEST), fitted.transform(X_TEST, subject=WHO_TEST), rtol=1e-5, atol=1e-6
    )
    again = tscl.SpeechDecoder.from_pretrained(adapted.save_pretrained(tmp_path / "adapted"))
    assert np.array_equal(again.transform(test, subject=new), adapted.transform(test, subject=new))


def test_a_new_subject_may_have_more_sensors(fitted, tmp_path):
    wide = np.concatenate([heard("e", TRAIN), heard("e", TRAIN)[:, :3]], axis=1)
    places = RNG.random((C + 3, 2))
    model = tscl.SpeechDecoder.from_pretrained(fitted.save_pretrained(tmp_path / "model"))
    new = np.full(len(wide), "e")
    assert model.transform(wide, subject=new, positions=places).shape == (36, F, T)
    model.adapt(wide, SPEECH[TRAIN], subject="e", positions=places, steps=1)
    assert model.transform(wide, subject=new).shape == (36, F, T)


def test_save_and_load(fitted, tmp_path):
    folder = fitted.save_pretrained(tmp_path / "model")
    names = {"model.safetensors", "config.json", "README.md", "positions.npz"}
    assert {path.name for path in folder.iterdir()} == names
    again = tscl.SpeechDecoder.from_pretrained(folder)
    assert np.array_equal(again.transform(X_TEST, subject=WHO_TEST), fitted.transform(X_TEST, subject=WHO_TEST))
    assert again.get_params() == fitted.get_params()
    assert again.subjects_ == fitted.subjects_
    assert again.history_.equals(fitted.history_)
    with pytest.raises(DataError, match="exists already: remove it or choose another folder"):
        fitted.save_pretrained(folder)
    with pytest.raises(DataNotFoundError, match="holds no saved model"):
        tscl.SpeechDecoder.from_pretrained(tmp_path)
    with pytest.raises(DataError, match="holds a SpeechDecoder, not a COMET"):
        tscl.COMET.from_pretrained(folder)
    positions = (folder / "positions.npz").read_bytes()
    (folder / "positions.npz").write_bytes(positions[:100])
    with pytest.raises(DataError, match=r"positions\.npz is missing or damaged"):
        tscl.SpeechDecoder.from_pretrained(folder)
    (folder / "positions.npz").unlink()
    with pytest.raises(DataError, match=r"positions\.npz is missing or damaged"):
        tscl.SpeechDecoder.from_pretrained(folder)
    description = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**description, "format_version": 99}))
    with pytest.raises(DataError, match="has format 99"):
        tscl.SpeechDecoder.from_pretrained(folder)


def test_clone_and_parameters():
    model = tscl.SpeechDecoder(hidden=12, temperature=0.1)
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(hidden=20, symmetric=True).get_params()["hidden"] == 20
    assert not hasattr(model, "encoder_")


SHORT = {**SMALL, "max_epochs": 1}


def test_random_state_reproduces_exactly_and_leaves_the_callers_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    given = {"subject": WHO, "positions": {one: POSITIONS[one] for one in PEOPLE}, "sequence": SEQUENCE}
    first, second, other = (
        tscl.SpeechDecoder(**{**SHORT, "random_state": seed}).fit(X, Y, **given).transform(X_TEST, subject=WHO_TEST)
        for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(first, second)
    assert not np.allclose(first, other)


def test_lists_of_windows_with_different_numbers_of_sensors():
    listed = [one[:6] if who == "d" else one for one, who in zip(X, WHO, strict=True)]
    positions = {one: POSITIONS[one] for one in PEOPLE}
    first, second = (
        tscl.SpeechDecoder(**SHORT).fit(x, Y, subject=WHO, positions=positions).transform(x, subject=WHO)
        for x in (listed, X)
    )
    assert np.array_equal(first, second)


def test_one_layout_for_all_and_positions_in_metres():
    metres = np.column_stack([POSITIONS["a"] - 0.5, np.ones(C)]) * 0.1
    model = tscl.SpeechDecoder(**SHORT).fit(X[:20], Y[:20], positions=metres)
    assert model.subjects_ == ["?"]
    assert "val/loss" not in model.history_
    flat = model.positions_["?"]
    assert (flat.min(), flat.max()) == (0, 1)
    np.testing.assert_array_equal(model.transform(X[:20]), model.transform(X[:20], positions=flat))
    everyone = np.tile(flat, (20, 1, 1))
    np.testing.assert_array_equal(
        model.transform(X[:20], subject=["x"] * 20, positions=everyone), model.transform(X[:20], subject=["x"] * 20)
    )


def test_a_learned_temperature_is_kept_and_used():
    model = tscl.SpeechDecoder(**SHORT, temperature=0.2).fit(X, Y, subject=WHO, positions=POSITIONS)
    assert model.log_scale_ != pytest.approx(np.log(5), abs=1e-6)
    z, candidates = model.transform(X_TEST, subject=WHO_TEST).reshape(48, -1), SPEECH[TEST].reshape(12, -1)
    cosine = (z / np.linalg.norm(z, axis=1, keepdims=True)) @ (
        candidates / np.linalg.norm(candidates, axis=1)[:, None]
    ).T
    expected = np.exp(cosine * np.exp(model.log_scale_))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X_TEST, SPEECH[TEST], subject=WHO_TEST), expected, rtol=1e-3)


def test_training_stops_without_a_better_validation_loss():
    given = {"subject": WHO, "positions": POSITIONS, "sequence": SEQUENCE}
    model = tscl.SpeechDecoder(**{**SMALL, "max_epochs": 30, "lr": 0.3, "patience": 1}).fit(X, Y, **given)
    assert len(model.history_) < 30


def test_a_split_of_speech_brings_everything_along(tmp_path):
    speech = synthesise_speech(tmp_path / "speech", minutes=2)
    data = SpeechDataModule(
        SimulatedSpeech(n_subjects=2, minutes=2), LogMel(n_bands=6), speech=str(speech), seconds=1.5, block_seconds=10
    )
    data.setup()
    split = data.split
    model = tscl.SpeechDecoder(**SHORT).fit(split)
    assert model.subjects_ == ["S1", "S2"]
    assert "val/loss" in model.history_
    assert model.transform(split.test).shape == (len(split.test), 6, 180)
    whole = tscl.SpeechDecoder(**SHORT).fit(split.train)
    assert "val/loss" not in whole.history_
    with pytest.raises(ConfigError, match="X is a SpeechSplit and brings speech, subjects and positions along"):
        model.fit(split, Y)
    others = split.test.select(np.arange(4))
    others.subjects = ["S2", "S1"]
    with pytest.raises(ConfigError, match=r"numbers its subjects otherwise than in fit: make it with subjects="):
        model.transform(others)


def conv(channels, features, subjects):
    return DilatedConvEncoder(channels, dim=features, hidden=4, depth=1)


def test_another_encoder(tmp_path):
    model = tscl.SpeechDecoder(**SHORT, encoder=conv).fit(X, Y, subject=WHO, positions=POSITIONS)
    assert isinstance(model.encoder_, DilatedConvEncoder)
    with pytest.raises(ConfigError, match="DilatedConvEncoder has no subject layer: there is nothing to calibrate"):
        model.adapt(X, Y, subject="e", positions=POSITIONS["e"])
    with pytest.raises(DataError, match="X has 6 channels, the decoder was fitted on 8"):
        model.transform(X[:, :6], subject=WHO)
    again = tscl.SpeechDecoder.from_pretrained(model.save_pretrained(tmp_path / "model"))
    assert np.array_equal(again.transform(X, subject=WHO), model.transform(X, subject=WHO))
    build = partial(BrainConv, virtual=6, hidden=6, depth=1, n_frequencies=2, subject_layer=False)
    model = tscl.SpeechDecoder(**SHORT, encoder=build).fit(X, Y, subject=WHO, positions=POSITIONS)
    with pytest.raises(ConfigError, match="the encoder has no subject layer"):
        model.adapt(X, Y, subject="e", positions=POSITIONS["a"])


def refused(**changed):
    given = {"X": X, "speech": Y, "subject": WHO, "positions": POSITIONS, "sequence": SEQUENCE}
    return lambda model: tscl.SpeechDecoder(**SHORT).fit(**{**given, **changed})


HALF_KNOWN = {**POSITIONS, "a": np.full((C, 2), np.nan)}
REFUSED = {
    "no speech": (refused(speech=None), "speech is missing"),
    "speech of other windows": (refused(speech=Y[:5]), r"speech has shape \(5, 4, 40\) for 144 windows"),
    "speech of another length": (refused(speech=Y[:, :, :30]), "speech has 30 times and the windows 40"),
    "flat speech": (refused(speech=Y[:, 0]), r"speech has shape \(144, 40\).*expected \(windows, features, times\)"),
    "infinite speech": (refused(speech=np.full_like(Y, np.inf)), "speech holds infinite or missing values"),
    "infinite signals": (refused(X=np.full_like(X, np.inf)), "X has infinite values in 144 windows"),
    "no positions": (refused(positions=None), "sensor positions are missing: pass positions"),
    "positions of some": (refused(positions={"a": POSITIONS["a"]}), r"no sensor positions for the subjects \['b',"),
    "too many positions": (refused(positions=dict.fromkeys("abcd", np.zeros((9, 2)))), "has 9 positions but the win"),
    "positions of other sensors": (
        refused(positions=np.zeros((5, 2))),
        r"positions have shape \(5, 2\) for windows of",
    ),
    "no position known": (refused(positions=HALF_KNOWN), "not one sensor position is known"),
    "off the square": (refused(positions=np.full((C, 2), -0.5)), "go from -0.5 to -0.5: scale them to the unit square"),
    "four coordinates": (refused(positions=np.zeros((C, 4))), r"expected \(sensors, 2\) or \(sensors, 3\)"),
    "other subjects": (refused(subject=WHO[:3]), r"subject has shape \(3,\) for 144 windows: give one id a window"),
    "other sequences": (refused(sequence=SEQUENCE[:3]), r"sequence has shape \(3,\) for 144 windows"),
    "one sequence": (refused(sequence=np.zeros(144)), "all windows are of one sequence"),
    "bad temperature": (
        lambda model: tscl.SpeechDecoder(**SHORT, temperature=-1).fit(X, Y, positions=POSITIONS["a"]),
        "the temperature is -1: it must be positive",
    ),
    "fewer candidates than k": (
        lambda model: model.score(X_TEST, Y_TEST, subject=WHO_TEST, k=12),
        "top-12 accuracy among 12 candidates says nothing",
    ),
    "no subject": (lambda model: model.transform(X), "have different sensors: pass subject or positions"),
    "candidates of another shape": (
        lambda model: model.rank(X_TEST, SPEECH[:, :, :9], subject=WHO_TEST),
        r"candidates \(48, 4, 9\) cannot be matched",
    ),
    "seen subject": (lambda model: model.adapt(X, Y, subject="a"), "the subject 'a' was fitted already"),
    "other features": (
        lambda model: model.adapt(X, Y[:, :2], subject="e", positions=POSITIONS["e"]),
        r"speech has shape \(144, 2, 40\): expected \(windows, 4, times\), as in fit",
    ),
    "nothing heard": (
        lambda model: model.adapt(X, None, subject="e", positions=POSITIONS["e"]),
        r"speech has shape \(\): expected \(windows, 4, times\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_one_sentence(fitted, case):
    do, said = REFUSED[case]
    with pytest.raises((ConfigError, DataError), match=said) as caught:
        do(fitted)
    assert "\n" not in str(caught.value)
    assert fitted.subjects_ == list(PEOPLE)
    assert len(fitted.encoder_.subjects.matrices) == 4


def test_an_unfitted_decoder_says_so():
    with pytest.raises(NotFittedError):
        tscl.SpeechDecoder().transform(X)


def test_equal_rows_are_one_stretch():
    assert same_rows(SPEECH[[3, 5, 3, 7, 5]]).tolist() == [0, 1, 0, 2, 1]
