import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tscl.errors import DataError
from tscl.plotting import embedding_map, hierarchy, results_bars, save_figure, similarity_matrix, training_curves
from tscl.plotting.embeddings import principal_plane
from tscl.plotting.levels import LEFT, RIGHT


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(4), 10)
    return rng.normal(size=(4, 6))[patients] * 3 + rng.normal(size=(40, 6)), patients


def summary():
    rows = [
        (model, method, fraction, unit, metric, value, 0.02, 3, value - 0.1, value + 0.05)
        for model, method, value in [("comet", "probe", 0.8), ("comet", "finetune", 0.7), ("bands", "direct", 0.6)]
        for fraction in (1.0, 0.1)
        for unit in ("window", "patient")
        for metric in ("f1", "auroc")
    ]
    return pd.DataFrame(
        rows, columns=["model", "method", "fraction", "unit", "metric", "mean", "sd", "seeds", "low", "high"]
    )


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def overlaps(ax):
    figure = ax.figure
    figure.canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent()) for t in ax.texts if t.get_text()]
    (width, height) = figure.bbox.size
    outside = [text for text, box in boxes if min(box.x0, box.y0) < 0 or box.x1 > width or box.y1 > height]
    pairs = [(a, b) for i, (a, box) in enumerate(boxes) for b, other in boxes[i + 1 :] if box.overlaps(other)]
    return pairs, outside


def test_a_saved_figure_is_closed(tmp_path):
    axes = hierarchy()
    save_figure(axes, tmp_path / "hierarchy.png")
    assert (tmp_path / "hierarchy.png").stat().st_size > 10_000
    assert axes.figure.number not in plt.get_fignums()


def test_hierarchy_names_its_levels_and_no_text_overlaps():
    ax = hierarchy()
    assert isinstance(ax, Axes)
    texts = [text.get_text() for text in ax.texts]
    assert {"patient", "trial", "window", "observation"} <= set(texts)
    pairs, outside = overlaps(ax)
    assert not pairs
    assert not outside
    inverse = ax.transData.inverted()
    boxes = [text.get_window_extent().transformed(inverse) for text in ax.texts]
    assert not [box for box in boxes if box.x0 < LEFT - 0.1 < box.x1 or box.x0 < RIGHT < box.x1]


def test_training_curves_average_rows_of_an_epoch_and_skip_gaps():
    nan = float("nan")
    metrics = pd.DataFrame(
        {
            "epoch": [0, 0, 1, 1],
            "step": [1, 2, 3, 4],
            "train_loss": [2.0, 1.0, 0.5, nan],
            "loss/patient": [nan, nan, 3.0, nan],
            "train_loss_step": 9.0,
            "accuracy": 0.5,
        }
    )
    ax = training_curves(metrics)
    assert legend(ax) == ["train_loss", "loss/patient"]
    assert ax.lines[0].get_xydata().tolist() == [[0, 1.5], [1, 0.5]]
    assert ax.lines[1].get_xydata().tolist() == [[1, 3.0]]
    assert training_curves(metrics, ["accuracy"]).get_ylabel() == "accuracy"
    with pytest.raises(DataError, match="no columns \\['f1'\\]"):
        training_curves(metrics, ["f1"])
    with pytest.raises(DataError, match="no loss to draw"):
        training_curves(metrics[["epoch", "accuracy"]])


def test_principal_plane_equals_scikit_learn(cloud):
    from sklearn.decomposition import PCA

    plane, share = principal_plane(cloud[0])
    pca = PCA(2).fit(cloud[0])
    np.testing.assert_allclose(np.abs(plane), np.abs(pca.transform(cloud[0])), atol=1e-9)
    np.testing.assert_allclose(share, pca.explained_variance_ratio_)
    flat, share = principal_plane(np.arange(3.0)[:, None])
    assert (flat[:, 1] == 0).all()
    assert share.tolist() == [1, 0]
    assert np.isfinite(principal_plane(np.ones((3, 4)))[1]).all()


def test_embedding_map_names_few_categories_and_counts_many(cloud):
    few = embedding_map(*cloud, title="patient")
    assert legend(few) == ["0", "1", "2", "3"]
    assert len(few.collections[0].get_offsets()) == 40
    assert len(np.unique(few.collections[0].get_facecolors(), axis=0)) == 4
    many = embedding_map(cloud[0], np.arange(40), title="window")
    assert many.get_legend() is None
    assert "40" in many.get_title()
    missing = embedding_map(cloud[0], np.array(["a"] * 20 + [None] * 20, dtype=object))
    assert legend(missing) == ["a"]


def test_similarity_matrix_is_sorted_by_group(cloud):
    embeddings, patients = cloud
    order = np.random.default_rng(1).permutation(40)
    ax = similarity_matrix(embeddings[order], np.array(list("abcd"))[patients[order]])
    found = ax.images[0].get_array()
    assert [label.get_text() for label in ax.get_yticklabels()] == list("abcd")
    np.testing.assert_allclose(ax.get_yticks(), [4.5, 14.5, 24.5, 34.5])
    np.testing.assert_allclose(np.diag(found), 1)
    same = patients[:, None] == patients
    assert found[same].mean() > found[~same].mean() + 0.5


@pytest.mark.parametrize("draw", [embedding_map, similarity_matrix])
def test_unusable_embeddings(draw, cloud):
    with pytest.raises(DataError, match="expected \\(n, D\\)"):
        draw(cloud[0], cloud[1][:-1])
    with pytest.raises(DataError, match="NaN or infinity"):
        draw(np.full((3, 2), np.nan), np.zeros(3))


def test_results_bars_have_the_height_of_the_means():
    ax = results_bars(summary())
    assert legend(ax) == ["comet, probe", "comet, finetune", "bands"]
    assert [bar.get_height() for bar in ax.patches] == [0.8, 0.8, 0.7, 0.7, 0.6, 0.6]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100 % of labels", "10 % of labels"]
    assert ax.get_ylabel() == "F1, by patient"
    assert results_bars(summary(), "auroc", "window").get_ylabel() == "AUROC, by window"
    lacking = summary()
    lacking.loc[0, "mean"] = np.nan
    results_bars(lacking)
    with pytest.raises(DataError, match="no 'recall' for unit 'patient'"):
        results_bars(summary(), "recall")


def test_the_package_loads_matplotlib_only_to_draw():
    code = "import sys, tscl.plotting.embeddings, tscl.plotting.levels; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
