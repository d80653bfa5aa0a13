import weakref

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch

from tscl import functional as F
from tscl.augmenters import Compose, Identity, Jitter, LatentMask, OverlappingCrops, Scaling
from tscl.data import Channels, WindowDataModule, WindowDataset
from tscl.encoders import DilatedConvEncoder
from tscl.errors import ConfigError
from tscl.heads import GroupHead, HierarchicalHead, ObservationHead, ProjectionHead, SampleHead
from tscl.learners import ContrastiveLearner
from tscl.learners.history import History


def windows(n_patients=4, n_trials=2, n_windows=4, steps=24):
    n = n_patients * n_trials * n_windows
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"patient": np.arange(n) // (n_trials * n_windows), "trial": np.arange(n) // n_windows})
    channels = Channels(("a", "b"), ("eeg", "eeg"), "uV", 24.0)
    return WindowDataset(rng.normal(size=(n, 2, steps)).astype("float32"), table, channels)


def encoder(dropout=0.1):
    torch.manual_seed(0)
    return DilatedConvEncoder(2, dim=8, hidden=6, depth=2, dropout=dropout)


COMET_HEADS = [
    ObservationHead(weight=0.1),
    SampleHead(weight=0.2),
    GroupHead("trial", weight=0.3),
    GroupHead("patient", weight=0.4),
]
COMET_VIEWS = {"clean": Identity(), "masked": LatentMask("continuous")}


def trainer(**kwargs):
    settings = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False}
    return L.Trainer(**{**settings, **quiet, **kwargs})


def fit(learner, epochs=1, data=None, **kwargs):
    module = WindowDataModule(data if data is not None else windows(), batch_size=16, seed=learner.seed)
    trainer(max_epochs=epochs, **kwargs).fit(learner, datamodule=module)
    return learner


def test_the_loss_is_the_weighted_sum_of_eight_separate_passes():
    learner = ContrastiveLearner(encoder(dropout=0.0), COMET_HEADS, {"clean": Identity(), "masked": Identity()})
    batch = windows()[np.arange(16)]
    z = learner.encoder(batch.x)
    expected = (
        0.1 * F.observation_contrast(z, z, True)
        + 0.2 * F.sample_contrast(z, z, True)
        + 0.3 * F.group_contrast(z, z, batch.levels["trial"])
        + 0.4 * F.group_contrast(z, z, batch.levels["patient"])
    )
    learner.log = lambda *args, **kwargs: None
    torch.testing.assert_close(learner.training_step(batch, 1), expected)


def test_comet_encodes_three_times_not_eight():
    learner = ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS)
    calls = []
    learner.encoder.blocks.register_forward_hook(lambda *_: calls.append(1))
    losses, embedded = learner.losses(windows()[np.arange(8)])
    assert len(calls) == 3
    assert list(losses) == ["observation", "sample", "trial", "patient"]
    assert set(embedded) == {"clean", "masked"}


@pytest.mark.parametrize("enabled", [False, True], ids=["fp32", "bf16"])
def test_the_weighted_loss_is_that_of_all_heads_at_once(enabled):
    batch = windows()[np.arange(16)]
    heads = [*COMET_HEADS[:2], GroupHead("patient", weight=0.7), ProjectionHead(8, 4, view="clean", weight=0.1)]
    learner = ContrastiveLearner(encoder(dropout=0.3), heads, COMET_VIEWS)
    trained = [*learner.encoder.parameters(), *learner.heads.parameters()]

    def at_once(pooled):
        losses, embedded = learner.losses(batch)
        for view, pair in embedded.items():
            pooled[view] = tuple(F.pool_time(z.detach()).float() for z in pair)
        weighted = [head.weight * loss for head, loss in zip(learner.heads, losses.values(), strict=True)]
        return torch.stack(weighted).sum(), {name: loss.detach() for name, loss in losses.items()}

    results = []
    for compute in (at_once, lambda pooled: learner.weighted_loss(batch, pooled)):
        torch.manual_seed(0)
        pooled = {}
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            total, losses = compute(pooled)
        results.append([total.detach(), losses, pooled, torch.autograd.grad(3 * total, trained)])
    assert list(results[1][1]) == learner.names
    torch.testing.assert_close(*results, **({"rtol": 3e-2, "atol": 3e-3} if enabled else {}))


def test_a_step_holds_the_embeddings_of_one_view_pair_at_a_time():
    learner = ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS)
    made, alive = [], []

    def note(module, given, out):
        alive.append(sum(one() is not None for one in made))
        made.append(weakref.ref(out))

    learner.encoder.output_dropout.register_forward_hook(note)
    learner.weighted_loss(windows()[np.arange(8)])[0].backward()
    assert alive == [0, 1, 0, 1]


class Linear(torch.nn.Module):
    """A module of one's own: one matrix a time step."""

    dim = 3

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)

    def forward(self, x, mask=None, sensors=None):
        return self.layer(x.mT).mT


def test_in_float16_the_gradient_is_taken_of_the_scaled_loss():
    learner = ContrastiveLearner(Linear(), [SampleHead(view="clean", weight=1e-9)], COMET_VIEWS)
    gradients = {}
    for kind in (torch.float16, torch.float32):
        learner.zero_grad()
        with torch.autocast("cpu", torch.float16, enabled=kind == torch.float16):
            loss = learner.weighted_loss(windows()[np.arange(8)])[0]
        (loss * 2**30).backward()
        gradients[kind] = learner.encoder.layer.weight.grad
    assert gradients[torch.float32].abs().max() > 0
    torch.testing.assert_close(gradients[torch.float16], gradients[torch.float32], rtol=2e-2, atol=2e-3)


def test_a_head_of_weight_zero_and_a_view_nobody_asks_for_cost_nothing():
    heads = [ObservationHead(weight=1.0), GroupHead("trial", weight=0.0)]
    learner = ContrastiveLearner(encoder(), heads, COMET_VIEWS)
    assert list(learner.views) == ["masked"]
    assert learner.names == ["observation"]


def test_two_heads_of_one_level_keep_their_names():
    heads = [SampleHead(view="masked"), SampleHead(view="clean")]
    assert ContrastiveLearner(encoder(), heads, COMET_VIEWS).names == ["sample_masked", "sample_clean"]


@pytest.mark.parametrize(
    ("heads", "views"),
    [
        (COMET_HEADS, COMET_VIEWS),
        ([HierarchicalHead()], {"crops": Compose([OverlappingCrops(), LatentMask("binomial")])}),
        ([ProjectionHead(8, 4)], {"augmented": Compose([Jitter(), Scaling()])}),
    ],
    ids=["COMET", "TS2Vec", "SimCLR"],
)
def test_training_lowers_the_loss(heads, views):
    data, history = windows(), History()
    learner = ContrastiveLearner(encoder(), heads, views, lr=3e-3)

    def loss_of_a_fixed_draw():
        torch.manual_seed(0)
        with torch.no_grad():
            return sum(float(loss) for _ in range(8) for loss in learner.losses(data[np.arange(32)])[0].values())

    before = loss_of_a_fixed_draw()
    fit(learner, epochs=12, data=data, callbacks=[history])
    assert loss_of_a_fixed_draw() < before
    frame = history.frame()
    assert len(frame) == 12
    assert {"train/loss", "train/alignment", "train/uniformity", "train/effective_rank"} <= set(frame.columns)
    assert np.isfinite(frame.to_numpy(dtype=float)).all()


def test_swa_is_the_mean_of_the_weights_after_every_step():
    seen = []

    class Spy(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(pl_module.encoder.stem.weight.detach().clone())

    learner = fit(ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS, lr=1e-2), epochs=3, callbacks=[Spy()])
    assert len(seen) == 6
    torch.testing.assert_close(learner.embedder.stem.weight, torch.stack(seen).mean(0))
    assert not torch.equal(learner.embedder.stem.weight, learner.encoder.stem.weight)


def test_ema_and_no_average():
    learner = fit(ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS, averaging="ema", ema_decay=0.0))
    torch.testing.assert_close(learner.embedder.stem.weight, learner.encoder.stem.weight)
    plain = ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS, averaging=None)
    assert plain.embedder is plain.encoder


def test_the_same_seed_gives_the_same_weights():
    weights = [
        fit(ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS, seed=seed), epochs=2).encoder.stem.weight
        for seed in (3, 3, 4)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_encoder_can_be_built_from_the_data():
    learner = ContrastiveLearner(lambda channels: DilatedConvEncoder(channels, 4, 4, 1), COMET_HEADS, COMET_VIEWS)
    with pytest.raises(ConfigError, match="not built yet"):
        _ = learner.embedder
    fit(learner)
    assert learner.encoder.stem.in_channels == 2
    assert learner(torch.zeros(1, 2, 9)).shape == (1, 4, 9)


def test_only_patients_no_trials():
    data = windows()
    data = WindowDataset(data.signals, data.metadata, data.channels, levels=("patient",))
    fit(ContrastiveLearner(encoder(), [GroupHead("patient")], COMET_VIEWS), data=data)
    with pytest.raises(ConfigError, match=r"the trial head needs trial ids, the data have \['patient'\]"):
        fit(ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS), data=data)


def test_any_further_level_by_configuration_alone():
    data = windows()
    table = data.metadata.assign(site=data.metadata["patient"] // 2)
    data = WindowDataset(data.signals, table, data.channels, levels=("site", "patient", "trial"))
    learner = ContrastiveLearner(encoder(), [*COMET_HEADS, GroupHead("site")], COMET_VIEWS)
    losses, _ = learner.losses(data[np.arange(32)])
    assert losses["site"] > 0


def test_bf16_trains():
    learner = fit(ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS, lr=1e-3), epochs=2, precision="bf16-mixed")
    assert all(torch.isfinite(p).all() for p in learner.encoder.parameters())
    assert learner.encoder.stem.weight.dtype == torch.float32


def test_unusable_settings_are_refused():
    with pytest.raises(ConfigError, match="no head has a weight above 0"):
        ContrastiveLearner(encoder(), [ObservationHead(weight=0)], COMET_VIEWS)
    with pytest.raises(ConfigError, match=r"asks for the view 'crops'; there are \['clean', 'masked'\]"):
        ContrastiveLearner(encoder(), [HierarchicalHead()], COMET_VIEWS)


class Counting(DilatedConvEncoder):
    """Notes how many windows it is given at a time."""

    def features(self, x, mask=None, sensors=None):
        self.__dict__.setdefault("given", []).append(len(x))
        return super().features(x, mask, sensors)


@pytest.mark.parametrize("views", [COMET_VIEWS, {"clean": Identity(), "masked": Compose([OverlappingCrops()])}])
def test_encoding_in_chunks_changes_neither_loss_nor_gradient(views):
    batch = windows()[np.arange(16)]
    said = []
    for chunk in (None, 5):
        torch.manual_seed(0)
        model = Counting(2, dim=8, hidden=6, depth=2, dropout=0.0)
        learner = ContrastiveLearner(model, COMET_HEADS, views, encode_chunk_size=chunk)
        torch.manual_seed(1)
        losses, _ = learner.losses(batch)
        sum(losses.values()).backward()
        said.append((losses, {name: p.grad for name, p in model.named_parameters()}, model.given))
    (whole, gradients, once), (parts, of_parts, again) = said
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(of_parts, gradients)
    assert set(once) == {16}
    assert set(again) == {5, 1}
    assert sum(again) == 2 * sum(once), "every window is encoded once more in the backward pass"


def test_chunks_draw_the_same_dropout_in_both_passes():
    batch = windows()[np.arange(12)]
    learner = ContrastiveLearner(encoder(dropout=0.5), [SampleHead()], {"masked": Identity()}, encode_chunk_size=4)
    weight = learner.encoder.blocks[-1].conv2.conv.bias

    def loss():
        torch.manual_seed(3)
        return learner.losses(batch)[0]["sample"]

    [gradient] = torch.autograd.grad(loss(), weight)
    weight.data[0] += 1e-2
    above = loss().detach()
    weight.data[0] -= 2e-2
    below = loss().detach()
    torch.testing.assert_close(gradient[0], (above - below) / 2e-2, rtol=2e-2, atol=1e-4)


def test_a_chunk_holds_a_window():
    with pytest.raises(ConfigError, match="encode_chunk_size is 0"):
        ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS, encode_chunk_size=0)
