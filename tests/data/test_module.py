from __future__ import annotations

import subprocess
import sys

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from jsonargparse import ArgumentParser

from tscl.data import Channels, CohortDataModule, SplitConfig, WindowDataModule, WindowDataset
from tscl.data.datasets import SimulatedECG
from tscl.errors import ConfigError, LeakageError
from tscl.types import Batch


def study(**options) -> SimulatedECG:
    return SimulatedECG(n_patients=10, n_trials=2, n_windows=3, **options)


def test_from_study_to_batches():
    module = CohortDataModule(study(), batch_size=16, split=SplitConfig(val=0.2, test=0.2))
    module.prepare_data()
    module.setup("fit")
    data = module.data
    module.setup("validate")
    assert module.data is data
    assert len(data) == 60
    assert [len(side) for side in module.split.sides.values()] == [36, 12, 12]
    assert (module.n_channels, module.n_classes) == (4, 2)
    batches = list(module.train_dataloader())
    assert sum(map(len, batches)) == 36
    assert all(len(batch) <= 16 for batch in batches)
    assert torch.equal(torch.cat([batch.x for batch in module.val_dataloader()[0]]), module.split.val[:].x)


def test_counts_are_known_before_setup():
    assert CohortDataModule(study()).n_channels == 4
    assert CohortDataModule(study()).n_classes == 2


def test_cache_is_filled_by_prepare_data_and_read_by_setup(tmp_path):
    module = CohortDataModule(study(), cache=str(tmp_path / "cache"))
    module.prepare_data()
    (entry,) = (tmp_path / "cache").iterdir()
    written = entry.stat().st_mtime_ns
    module.setup()
    assert entry.stat().st_mtime_ns == written
    assert isinstance(module.data.signals, np.memmap)
    plain = CohortDataModule(study())
    plain.setup()
    assert np.array_equal(plain.data.numpy(), module.data.numpy())


def test_folds_cover_all_patients():
    tested = []
    for fold in range(5):
        module = CohortDataModule(study(), split=SplitConfig(scheme="kfold", n_splits=5, fold=fold, val=0))
        module.setup()
        assert module.val_dataloader() == []
        tested += module.split.manifest["test"]["ids"]
    assert sorted(tested) == sorted(module.data.metadata["patient"].unique())


def test_split_settings_that_cannot_work():
    with pytest.raises(ConfigError, match="fold 5 is not one of the folds 0 to 4"):
        CohortDataModule(study(), split=SplitConfig(scheme="kfold", fold=5)).setup()
    with pytest.raises(ConfigError, match="simulated_ecg has no published split"):
        CohortDataModule(study(), split=SplitConfig(scheme="published")).setup()


def test_a_published_split_that_leaks_is_refused():
    class Leaky(SimulatedECG):
        def published_split(self, data):
            from tscl.data import Split

            return Split(data, None, data)

    with pytest.raises(LeakageError, match="stand on both sides"):
        CohortDataModule(Leaky(n_patients=4, n_trials=2), split=SplitConfig(scheme="published")).setup()


def test_config_names_study_and_split():
    parser = ArgumentParser()
    parser.add_class_arguments(CohortDataModule, "data")
    config = parser.parse_args(
        ["--data.study=tscl.data.datasets.SimulatedECG", "--data.study.n_patients=6", "--data.split.scheme=kfold"]
    )
    module = parser.instantiate_classes(config).data
    assert module.study.n_patients == 6
    assert module.split_config == SplitConfig(scheme="kfold")


def test_windows_in_memory():
    n = 24
    table = pd.DataFrame({"patient": np.arange(n) // 12, "trial": np.arange(n) // 4})
    data = WindowDataset(np.zeros((n, 2, 4), "float32"), table, Channels(("I", "II"), ("ecg",) * 2, "mV", 4.0))
    module = WindowDataModule(data, batch_size=8)
    assert (module.n_channels, module.n_classes) == (2, 0)
    assert [len(batch) for batch in module.train_dataloader()] == [8, 8, 8]
    assert module.val_dataloader() == []
    assert len(WindowDataModule(data, data, batch_size=8).val_dataloader()[0]) == 3


class Gatherer(L.LightningModule):
    """Writes down which windows this process trained on."""

    def __init__(self, folder) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.folder, self.saw = folder, []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.saw.append(batch.x[:, 0, 0].long().tolist())
        return self.layer(batch.x[:, 0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-6)

    def on_train_end(self) -> None:
        (self.folder / f"{self.global_rank}.txt").write_text(repr(self.saw))


@pytest.mark.filterwarnings("ignore")
def test_two_processes_share_the_windows(tmp_path):
    n = 48
    table = pd.DataFrame({"patient": np.arange(n) // 12, "trial": np.arange(n) // 4})
    x = np.arange(n, dtype="float32")[:, None, None]
    data = WindowDataset(x, table, Channels(("I",), ("ecg",), "mV", 4.0))
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy="ddp_fork", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(Gatherer(tmp_path), datamodule=WindowDataModule(data, batch_size=8))
    shares = [eval((tmp_path / f"{rank}.txt").read_text()) for rank in (0, 1)]
    assert len(shares[0]) == len(shares[1]) == 3
    assert sorted(sum(shares[0] + shares[1], [])) == list(range(n))


def test_importing_the_package_loads_no_heavy_library():
    heavy = "lightning sklearn mne wfdb sktime matplotlib tsai neurokit2"
    code = f"import sys, tscl.data; print([m for m in {heavy.split()} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_is_there_and_prepare_is_the_function():
    import tscl.data
    import tscl.data.prepare

    assert all(getattr(tscl.data, name) is not None for name in tscl.data.__all__)
    assert callable(tscl.data.prepare)
