import pickle
from pathlib import Path

import numpy as np
import pytest

from tscl.data import CohortDataModule, Split, check_seen
from tscl.data.datasets import Archive
from tscl.data.datasets.archive import channel_moments
from tscl.data.module import SplitConfig
from tscl.errors import ConfigError, DataError, DataNotFoundError, LeakageError

TRAIN = "1\t1\t2\t3\n2\t4\t5\tNaN\n1\t0\t0\t6\n"
TEST = "2\t1\t1\n1\t2\t8\n"


@pytest.fixture
def small(tmp_path):
    (tmp_path / "Small").mkdir()
    (tmp_path / "Small" / "Small_TRAIN.tsv").write_text(TRAIN)
    (tmp_path / "Small" / "Small_TEST.tsv").write_text(TEST)
    return tmp_path


def test_series_keep_their_order_their_class_and_their_side(small):
    data = Archive("Small", scale=None).load(small)
    assert data.levels == ("series",)
    np.testing.assert_array_equal(
        data.numpy()[:, 0], [[1, 2, 3], [4, 5, np.nan], [0, 0, 6], [1, 1, np.nan], [2, 8, np.nan]]
    )
    assert data.classes == ("1", "2")
    assert data.y.tolist() == [0, 1, 0, 1, 0]
    assert data.metadata["series"].tolist() == [
        "Small/train/0000", "Small/train/0001", "Small/train/0002", "Small/test/0000", "Small/test/0001",
    ]  # fmt: skip
    assert data.metadata["part"].tolist() == ["train"] * 3 + ["test"] * 2


def test_the_published_split_is_that_of_the_archive_and_passes_the_guard(small):
    study = Archive("Small")
    data = study.load(small)
    split = study.published_split(data)
    split.check()
    assert (split.by, split.val) == ("series", None)
    assert split.manifest["train"]["classes"] == {"1": 2, "2": 1}
    again = Split.from_manifest(data, split.manifest)
    assert again.test.metadata["series"].tolist() == split.test.metadata["series"].tolist()
    check_seen(split.manifest, split.test)
    with pytest.raises(LeakageError, match="Small/train/0000"):
        check_seen(split.manifest, split.train)


def test_scaling_uses_the_training_series_only(small):
    raw = Archive("Small", scale=None).load(small).numpy()[:, 0]
    known = np.array([1, 2, 3, 4, 5, 0, 0, 6], float)
    scaled = Archive("Small").load(small).numpy()[:, 0]
    np.testing.assert_allclose(scaled, (raw - known.mean()) / known.std(), rtol=1e-5)
    each = Archive("Small", scale="series").load(small).numpy()[:, 0]
    np.testing.assert_allclose(np.nanmean(each, axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(each, axis=1), [1, 1, 1, 0, 1], atol=1e-6)


def test_moments_of_channels_skip_missing_values_and_constants():
    series = [np.array([[1.0, 3.0, np.nan], [2.0, 2.0, 2.0], [np.nan] * 3]), np.array([[5.0], [2.0], [np.nan]])]
    centre, spread = channel_moments(series)
    assert centre == pytest.approx((3.0, 2.0, 0.0))
    assert spread == pytest.approx((np.std([1, 3, 5]), 1.0, 1.0))


@pytest.mark.parametrize("place", [".", "ucr", "archive", "Univariate_ts/Small"])
def test_folders_that_are_searched(tmp_path, place, monkeypatch):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "Small.npz", X_train=[[1.0, 2.0]], y_train=["a"], X_test=[[3.0, 4.0]], y_test=["b"])
    assert Archive("Small").find(tmp_path) == folder
    monkeypatch.setenv("TSCL_DATA", str(tmp_path))
    assert len(Archive("Small").load()) == 2


def test_a_missing_set_or_part_says_what_to_do(small):
    with pytest.raises(DataNotFoundError, match=r"has no Other\.npz or Other_TRAIN\.ts.*timeseriesclassification"):
        Archive("Other").find(small)
    (small / "Small" / "Small_TEST.tsv").unlink()
    with pytest.raises(DataNotFoundError, match=r"Small_TEST\.tsv does not exist"):
        Archive("Small").load(small)


def test_parts_with_different_channels_are_refused(tmp_path):
    np.savez(tmp_path / "Two.npz", X_train=np.ones((2, 3, 5)), y_train=[0, 1], X_test=np.ones((2, 2, 5)), y_test=[0, 1])
    with pytest.raises(DataError, match="2 channels, the training series 3"):
        Archive("Two").load(tmp_path)
    with pytest.raises(DataError, match="missing channels"):
        Archive("Two", scale=None).load(tmp_path)


@pytest.mark.parametrize("name", ["", "a/b", "*", "Gun Point"])
def test_names_that_cannot_be(name):
    with pytest.raises(ConfigError, match="is no name of a set"):
        Archive(name)


def test_unknown_scales_are_refused():
    with pytest.raises(ConfigError, match="'train', 'series' or None"):
        Archive(scale="zscore")


def test_download_leaves_what_is_there_and_says_what_failed(small, monkeypatch):
    import sktime.datasets

    def unreachable(*args, **kwargs):
        raise RuntimeError("no network")

    monkeypatch.setattr(sktime.datasets, "load_UCR_UEA_dataset", unreachable)
    monkeypatch.delenv("TSCL_DATA", raising=False)
    assert Archive("Small").download(small) == small / "Small"
    with pytest.raises(DataNotFoundError, match=r"Other could not be fetched \(RuntimeError: no network\)"):
        Archive("Other").download(small)
    with pytest.raises(ConfigError, match="say where Other shall be put"):
        Archive("Other").download()


def test_sktime_puts_the_files_where_they_are_found(tmp_path):
    import shutil

    import sktime.datasets

    shipped = Path(sktime.datasets.__file__).parent / "data" / "UnitTest"
    shutil.copytree(shipped, tmp_path / "UnitTest")
    X, _ = sktime.datasets.load_UCR_UEA_dataset("UnitTest", split="train", extract_path=str(tmp_path))
    data = Archive("UnitTest").load(tmp_path, download=True)
    assert (data.metadata["part"] == "train").sum() == len(X)


@pytest.mark.parametrize(
    ("name", "shape", "n_train"), [("GunPoint", (200, 1, 150), 50), ("FingerMovements", (416, 28, 50), 316)]
)
def test_real_sets(shared_data, tmp_path, name, shape, n_train):
    study = Archive(name)
    data = study.load(shared_data, cache=tmp_path)
    assert data.shape == shape
    split = study.published_split(data)
    assert (len(split.train), len(split.test)) == (n_train, shape[0] - n_train)
    np.testing.assert_allclose(split.train.numpy().mean(axis=(0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(split.train.numpy().std(axis=(0, 2)), 1, atol=1e-4)
    np.testing.assert_array_equal(study.load(shared_data, cache=tmp_path).numpy(), data.numpy())
    assert len(list(tmp_path.iterdir())) == 1
    Archive(name, scale=None).load(shared_data, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert pickle.loads(pickle.dumps(study.sources(study.find(shared_data))))[0].load()


def test_the_data_module_has_no_validation_side(small):
    module = CohortDataModule(Archive("Small"), str(small), batch_size=2, split=SplitConfig(scheme="published"))
    module.setup("fit")
    assert (module.n_channels, module.n_classes) == (1, 2)
    assert module.val_dataloader() == []
    assert sorted(len(batch.x) for batch in module.train_dataloader()) == [1, 2]
    with pytest.raises(DataError, match="'patient' is no level"):
        CohortDataModule(Archive("Small"), str(small)).setup("fit")


def test_fit_and_evaluate_from_the_command_line(small, tmp_path, monkeypatch, capsys):
    from tscl.cli.evaluate import evaluate_run
    from tscl.cli.fit import fit

    rng = np.random.default_rng(0)
    y = np.arange(16) % 2
    X = rng.normal(size=(16, 24)) + 2 * y[:, None] * np.sin(np.arange(24))
    X[3, 20:] = np.nan
    np.savez(small / "Waves.npz", X_train=X[:8], y_train=y[:8], X_test=X[8:], y_test=y[8:])
    config = Path(__file__).resolve().parents[3] / "configs" / "ts2vec" / "ucr.yaml"
    monkeypatch.chdir(tmp_path)
    fit(
        ["--config", str(config), "--data.root", str(small), "--data.study.name", "Waves", "--trainer.max_steps", "3"]
        + ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
        + ["--trainer.callbacks+", "tscl.learners.OnlineProbe", "--trainer.callbacks.every_n_epochs", "1"]
    )
    run = tmp_path / "runs" / "ts2vec_ucr"
    evaluate_run(run, methods=["svm", "knn", "probe"], seeds=[0], accelerator="cpu")
    assert "| pretrained | svm | 100 % | window |" in (run / "results" / "results.md").read_text()
