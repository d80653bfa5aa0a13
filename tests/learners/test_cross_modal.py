import copy

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from tscl import functional as F
from tscl.data import WindowDataModule
from tscl.data.speech.arrays import PairedWindows, paired_windows
from tscl.encoders import BrainConv
from tscl.errors import ConfigError
from tscl.learners import CrossModalLearner
from tscl.learners.checkpoint import AtomicCheckpointIO
from tscl.learners.history import History
from tscl.learners.seeding import seed_step
from tscl.losses import RegressionLoss

RNG = np.random.default_rng(0)
SPEECH = RNG.normal(size=(24, 3, 20)).astype("float32")
POSITIONS = RNG.random((5, 2))


class WithPitch(PairedWindows):
    """The same windows with a second modality of two features."""

    def __getitem__(self, index):
        batch = super().__getitem__(index)
        batch.paired["pitch"] = batch.paired["speech"][:, :2]
        return batch


def windows(segments, noise=1.0, seed=0, kind=PairedWindows):
    draw = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(5, 3))
    x = mixing @ SPEECH[segments] + noise * draw.normal(size=(len(segments), 5, 20))
    subject = np.where(np.arange(len(segments)) % 2, "a", "b")
    data = paired_windows(x.astype("float32"), SPEECH[segments], subject, POSITIONS)
    data.__class__ = kind
    return data


def factory(channels, features, subjects):
    return BrainConv(channels, features, subjects, virtual=6, hidden=8, depth=1, n_frequencies=3, spatial_dropout=0.2)


def learner(encoder=factory, **settings):
    made = CrossModalLearner(encoder, **{"lr": 1e-2, **settings})
    made.build(5, 3, 2)
    return made


def module(train=None, val=None, batch_size=12):
    train = windows(np.arange(24).repeat(2)[:36]) if train is None else train
    return WindowDataModule(train, val, batch_size=batch_size, windows_per_trial=1, trials_per_patient=1, seed=0)


def trainer(**settings):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False}
    kept = {"logger": False, "enable_checkpointing": False, "num_sanity_val_steps": 0, "accelerator": "cpu"}
    return L.Trainer(**{**quiet, **kept, "plugins": [AtomicCheckpointIO()], "max_epochs": 1, **settings})


class Watch(L.Callback):
    """Keep the batches, and the encoder's weights and the validation loss of every epoch."""

    def __init__(self):
        self.batches, self.weights, self.losses = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch)

    def on_validation_end(self, trainer, pl_module):
        self.weights.append(copy.deepcopy(pl_module.encoder.state_dict()))
        self.losses.append(float(trainer.callback_metrics["val/loss"]))


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def test_steps_are_those_written_out():
    watch = Watch()
    ours = learner(seed=3, weight_decay=0.1)
    encoder = copy.deepcopy(ours.encoder)
    trainer(max_epochs=2, max_steps=5, callbacks=[watch]).fit(ours, datamodule=module())
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-2, weight_decay=0.1, fused=True)
    for number, batch in enumerate(watch.batches):
        seed_step(3, number // 3, number % 3, 0)
        ids = batch.levels["segment"]
        assert len(ids.unique()) < len(ids), "a batch without copies would not show that ids are used"
        loss = F.clip_loss(encoder(batch.x, sensors=batch.sensors), batch.paired["speech"], ids=ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert len(watch.batches) == 5
    assert_equal(ours.encoder.state_dict(), encoder.state_dict())


def test_the_weights_of_the_lowest_validation_loss_embed():
    watch, history = Watch(), History()
    ours = learner(lr=0.05)
    val = windows(np.arange(24).repeat(2)[36:], noise=3.0, seed=1)
    trainer(max_epochs=8, callbacks=[watch, history]).fit(ours, datamodule=module(val=val))
    best = int(np.argmin(watch.losses))
    assert 0 < best < 7, "the best epoch must be neither the first nor the last for this test to say anything"
    assert ours.best_loss == watch.losses[best]
    assert ours.embedder is ours.best
    assert_equal(ours.embedder.state_dict(), watch.weights[best])
    assert_equal(ours.encoder.state_dict(), watch.weights[-1])
    assert not any(one.requires_grad for one in ours.best.parameters())
    np.testing.assert_allclose(history.frame()["val/loss"], watch.losses)
    assert history.frame()["val/accuracy"].between(0, 1).all()


@pytest.mark.parametrize("sanity", [0, 2])
def test_an_encoder_that_is_built_already(sanity):
    torch.manual_seed(0)
    encoder = factory(5, 3, 2)
    ours = CrossModalLearner(encoder, lr=1e-2)
    val = windows(np.arange(20, 24))
    watch = Watch()
    trainer(callbacks=[watch], num_sanity_val_steps=sanity).fit(ours, datamodule=module(val=val))
    assert ours.encoder is encoder
    assert ours.best is not encoder
    assert ours.best_loss == watch.losses[-1]


def test_what_is_validated_before_training_is_not_kept():
    ours = learner(lr=1.0)
    ours.encoder.requires_grad_(True)
    trainer(num_sanity_val_steps=2, limit_train_batches=1).fit(ours, datamodule=module(val=windows(np.arange(20, 24))))
    assert_equal(ours.best.state_dict(), ours.encoder.state_dict())


def test_validation_accuracy_counts_copies_of_the_own_stretch_as_found():
    ours = learner()
    logged = {}
    ours.log = lambda name, value, **_: logged.update({name: float(value)})
    batch = windows([0, 1, 1, 2])[np.arange(4)]
    ours.encoder.forward = lambda x, sensors: batch.paired["speech"][[0, 2, 1, 3]]
    ours.validation_step(batch, 0)
    assert logged["val/accuracy"] == 1
    ours.encoder.forward = lambda x, sensors: batch.paired["speech"][[0, 2, 1, 0]]
    ours.validation_step(batch, 0)
    assert logged["val/accuracy"] == 0.75


def test_without_validation_the_last_weights_embed():
    ours = learner()
    trainer().fit(ours, datamodule=module())
    assert ours.embedder is ours.encoder
    assert ours.best_loss == torch.inf
    with pytest.raises(ConfigError, match="not built yet"):
        _ = CrossModalLearner(factory).embedder


def test_losses_of_several_modalities_are_summed():
    torch.manual_seed(0)
    pitch = nn.Conv1d(2, 3, 1)
    ours = learner(paired={"speech": nn.Identity(), "pitch": pitch})
    batch = windows(np.arange(8), kind=WithPitch)[np.arange(8)]
    torch.manual_seed(0)
    loss, compared = ours.losses(batch)
    assert list(compared) == ["speech", "pitch"]
    z = compared["speech"][0]
    assert z is compared["pitch"][0]
    expected = F.clip_loss(z, batch.paired["speech"]) + F.clip_loss(z, pitch(batch.paired["pitch"]))
    torch.testing.assert_close(loss, expected)

    before = pitch.weight.detach().clone()
    history = History()
    data = module(windows(np.arange(20), kind=WithPitch), windows(np.arange(20, 24), kind=WithPitch))
    trainer(callbacks=[history]).fit(ours, datamodule=data)
    assert not torch.equal(pitch.weight, before)
    assert history.frame()["val/accuracy"].between(0, 1).all()
    assert torch.isfinite(ours.best_loss)
    assert "against speech, pitch" in ours.card[0]


def test_a_modality_that_the_data_lack_is_named():
    ours = learner(paired={"speech": nn.Identity(), "pitch": nn.Conv1d(2, 3, 1)})
    with pytest.raises(ConfigError, match=r"the data have no 'pitch' beside the signals, only \['speech'\]"):
        ours.losses(windows(np.arange(8))[np.arange(8)])
    with pytest.raises(ConfigError, match="no modality is paired"):
        CrossModalLearner(factory, paired={})


def test_other_losses_take_their_place():
    ours = learner(loss=RegressionLoss())
    batch = windows(np.arange(8))[np.arange(8)]
    loss, compared = ours.losses(batch)
    torch.testing.assert_close(loss, ((compared["speech"][0] - batch.paired["speech"]) ** 2).mean())


def test_the_seed_gives_the_weights():
    ours = [learner(seed=seed) for seed in (1, 1, 2)]
    state = torch.get_rng_state()
    learner(seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert_equal(ours[0].encoder.state_dict(), ours[1].encoder.state_dict())
    assert not torch.equal(ours[0].encoder.stem.weight, ours[2].encoder.stem.weight)


class SaveAt(L.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("step", [1, 5, 8])
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path, step):
    """Three steps an epoch: within the first, the second and, with a better validation loss behind it, the third."""
    val = windows(np.arange(24).repeat(2)[36:], noise=2.0, seed=1)
    whole = learner(seed=2)
    saving = SaveAt(step, tmp_path / "last.ckpt")
    trainer(max_epochs=4, callbacks=[saving]).fit(whole, datamodule=module(val=val))
    resumed = CrossModalLearner(factory, lr=1e-2, seed=2)
    resumed.build(5, 3, 2)
    trainer(max_epochs=4).fit(resumed, datamodule=module(val=val), ckpt_path=tmp_path / "last.ckpt")
    assert_equal(resumed.state_dict(), whole.state_dict())
    assert any(name.startswith("best.") for name in whole.state_dict())


def test_bf16_trains():
    ours = learner()
    trainer(precision="bf16-mixed", max_epochs=2).fit(ours, datamodule=module(val=windows(np.arange(20, 24))))
    assert all(torch.isfinite(one).all() for one in ours.encoder.parameters())
    assert ours.encoder.stem.weight.dtype == torch.float32


def test_scores_of_windows_with_their_own_and_with_other_segments():
    watch, history = Watch(), History()
    ours = learner(seed=3)
    encoder = copy.deepcopy(ours.encoder)
    trainer(callbacks=[watch, history], max_steps=1).fit(ours, datamodule=module())
    batch = watch.batches[0]
    seed_step(3, 0, 0, 0)
    with torch.no_grad():
        z, y = encoder(batch.x, sensors=batch.sensors).flatten(1), batch.paired["speech"].flatten(1)
    scores = torch.nn.functional.cosine_similarity(z[:, None], y[None], dim=2)
    same = batch.levels["segment"][:, None] == batch.levels["segment"]
    assert same.sum() > len(z), "a batch without copies would not show that ids are used"
    [row] = history.rows
    for side, pairs in (("positive", same), ("negative", ~same)):
        expected = np.quantile(scores[pairs], [0.05, 0.5, 0.95]).tolist()
        found = [row[f"score/speech/{side}_{q}"] for q in ("q05", "q50", "q95")]
        assert found == pytest.approx(expected, abs=1e-5)
