"""What all public figures keep to: they draw into the Axes that they are given, return it, and open no figure."""

import inspect

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

import tscl.plotting
from tscl import plotting

RNG = np.random.default_rng(0)
CLOUD, PATIENTS = RNG.normal(size=(12, 5)), np.repeat(list("abc"), 4)
SCORES = {f"score/window/{side}_{q}": [0.1, 0.2] for side in ("positive", "negative") for q in ("q05", "q50", "q95")}
RESULTS = {"model": "m", "method": "probe", "fraction": 1.0, "unit": "patient", "metric": "f1"}
EXAMPLE = {"query": 3, "subject": "S1", "heard": "a b", "rank": 1.0, "place": 1, "words": "a b"}

ARGUMENTS = {
    "accuracy_by_subject": [pd.DataFrame({"model": ["m"], "subject": ["a"], "top10": [0.5]})],
    "alarms_over_time": [RNG.random(9), np.arange(9) == 4],
    "attention_map": [RNG.random(6), RNG.random((6, 2))],
    "attribution_over_signal": [RNG.normal(size=(2, 9)), RNG.normal(size=(2, 9))],
    "attribution_topomap": [RNG.normal(size=6), RNG.normal(size=(6, 3))],
    "embedding_map": [CLOUD, PATIENTS],
    "forecast_plot": [RNG.random(20), {"model": RNG.random(4)}, 12],
    "hierarchy": [],
    "mask_over_signal": [RNG.normal(size=9), RNG.random(9)],
    "rank_histogram": [np.array([1.0, 3.0]), 20],
    "results_bars": [pd.DataFrame([RESULTS | {"mean": 0.5, "low": 0.4, "high": 0.6}])],
    "retrieval_examples": [pd.DataFrame([EXAMPLE | {"probability": 0.4, "true": True}])],
    "score_distributions": [pd.DataFrame({"epoch": [0, 1], **SCORES})],
    "similarity_matrix": [CLOUD, PATIENTS],
    "training_curves": [pd.DataFrame({"epoch": [0, 1], "loss": [1.0, 0.5]})],
}
OTHERS = {"save_figure", "view_gallery"}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def figures():
    names = [name for name in plotting.__all__ if callable(getattr(plotting, name))]
    return [name for name in names if not inspect.ismodule(getattr(plotting, name)) and name not in OTHERS]


@pytest.mark.parametrize("name", figures())
def test_a_figure_is_drawn_into_the_axes_that_it_is_given(name):
    draw = getattr(plotting, name)
    figure, (ax, beside) = plt.subplots(1, 2)
    assert draw(*ARGUMENTS[name], ax=ax) is ax
    assert plt.get_fignums() == [figure.number]
    assert ax.has_data() or ax.patches or ax.texts
    assert not beside.has_data()
    alone = draw(*ARGUMENTS[name])
    assert isinstance(alone, mpl.axes.Axes)
    assert alone.figure is not figure
    figure.canvas.draw()
    alone.figure.canvas.draw()


def test_a_gallery_draws_into_the_axes_that_it_is_given():
    figure, axes = plt.subplots(1, 2)
    x = RNG.normal(size=(2, 9))
    drawn = tscl.plotting.view_gallery(x, {"one": x, "two": -x}, axes=axes)
    assert all(one is other for one, other in zip(drawn, axes, strict=True))
    assert plt.get_fignums() == [figure.number]
