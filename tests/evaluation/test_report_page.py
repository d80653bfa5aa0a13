"""The HTML of a report, read by a parser; ``tests/browser`` opens it."""

import base64
import hashlib
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from torch import nn

from tscl.data import Channels, WindowDataset
from tscl.evaluation import Check, Report, embedding_points, evaluate, render_report, write_report
from tscl.evaluation.report.leakage import check_manifest, check_split, check_tested, sides_of
from tscl.evaluation.report.tables import curves, headline, patient_tables, result_tables

NASTY = "<script>alert(1)</script>"
OUTSIDE = "http://example.org/x.png"


class Same(nn.Module):
    """An encoder that returns its input."""

    dim = 2

    def forward(self, x, mask=None, sensors=None):
        return x


class Page(HTMLParser):
    """Everything that the tests ask of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif data.strip():
            self.texts.append(data.strip())

    def of(self, tag):
        return [attributes for name, attributes in self.attributes if name == tag]


@pytest.fixture(scope="module")
def judged():
    """Windows of 12 patients, one of whom has a nasty name, their split, and the results of a probe."""
    rng = np.random.default_rng(0)
    patient = np.repeat([NASTY, *(f"P{k:02d}" for k in range(1, 12))], 6)
    sick = np.repeat(np.arange(12) % 2, 6)
    X = (rng.normal(size=(72, 2, 30)) + 0.4 * sick[:, None, None]).astype("float32")
    table = pd.DataFrame({"patient": patient, "trial": np.arange(72) // 3, "sick": sick, "onset": np.arange(72) * 1.0})
    table["source"] = [f"{one}.edf" for one in patient]
    data = WindowDataset(X, table, Channels(("Fz", "Cz"), ("eeg", "eeg"), "uV", 30.0), target="sick")
    split = data.split(by="patient", val=0.2, test=0.4, seed=1)
    settings = {"methods": ("probe",), "label_fractions": (1.0,), "seeds": (0, 1), "pooling": "mean"}
    results = evaluate(Same(), split, baselines={"random weights": Same()}, n_resamples=50, **settings)
    return split, results


@pytest.fixture(scope="module")
def report(judged):
    split, results = judged
    history = pd.DataFrame(
        {
            "epoch": [0, 1],
            "step": [3, 6],
            "train/loss": [2.0, 1.5],
            "train/alignment": [0.3, 0.2],
            "val/f1": [np.nan, 1],
        }
    )
    return Report(
        title=f"run {NASTY}",
        lead="A run.",
        manifest=split.manifest,
        checks=[*check_manifest(split.manifest), check_split(split)],
        summary=results.summary(),
        statement=f"Tested on {NASTY}.",
        patients=results.by_patient(split.test.classes),
        points=embedding_points(Same(), split.sides, pooling="mean"),
        history=history,
        figures={"mask_x.png": b"\x89PNG"},
        card=f"# Model card\n\n- **Seen**: {NASTY}\n\n![x]({OUTSIDE})\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        config=f"key: {NASTY}",
    )


def test_what_was_predicted_for_a_patient_is_the_vote_of_its_windows(judged):
    split, results = judged
    table = results.by_patient(split.test.classes)
    ids = split.test.metadata["patient"].to_numpy()
    for model in ("pretrained", "random weights"):
        seeds = results.predictions[model, "probe", 1.0, "window"]
        rows = table[table["model"] == model].set_index("patient")
        assert sorted(rows.index) == sorted(set(ids))
        for one, row in rows.iterrows():
            mean = np.mean([proba[ids == one] for _, proba, _ in seeds], axis=(0, 1))
            label = split.test.metadata.loc[ids == one, "sick"].iloc[0]
            hits = np.mean([(proba[ids == one].argmax(axis=1) == label).mean() for _, proba, _ in seeds])
            np.testing.assert_allclose([row["p(0)"], row["p(1)"]], mean)
            assert (row["label"], row["windows"]) == (label, 6)
            assert row["predicted"] == mean.argmax()
            assert row["correct"] == (mean.argmax() == label)
            assert row["correct_windows"] == pytest.approx(hits)


def test_a_patient_with_two_labels_has_a_row_for_each():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"patient": np.repeat(list("abcdefgh"), 10), "trial": np.arange(80), "task": ["rest", "sum"] * 40}
    )
    X = rng.normal(size=(80, 1, 20)).astype("float32") + (table["task"] == "sum").to_numpy()[:, None, None]
    data = WindowDataset(X.astype("float32"), table, Channels(("a",), ("eeg",), "uV", 20.0), target="task")
    split = data.split(by="patient", val=0.0, test=0.25, seed=0)
    results = evaluate(Same(), split, methods=("probe",), label_fractions=(1.0,), seeds=(0,), n_resamples=20)
    rows = results.by_patient(split.test.classes)
    assert rows.groupby("patient")["label"].agg(list).tolist() == [["rest", "sum"]] * 2
    assert rows["windows"].tolist() == [5] * 4
    [shown] = patient_tables(rows)
    assert shown.scale == "probability of sum"
    assert [row.label for row in shown.rows] == ["rest", "rest", "sum", "sum"]


def test_texts_are_escaped_everywhere(report):
    page = Page(render_report(report))
    assert page.tags.count("script") == 3
    assert not any("alert(1)" in script for script in page.scripts if not script.startswith("{"))
    joined = " ".join(page.texts)
    for where in ("run ", "Tested on ", "key: ", "Seen"):
        assert where in joined
    assert joined.count("alert(1)") >= 6
    assert not {name for _, attributes in page.attributes for name in attributes if name.startswith("on")}
    [data] = [script for script in page.scripts if script.startswith("{")]
    assert NASTY in json.loads(data)["points"]["columns"]["patient"]["values"]


def test_the_page_asks_for_nothing(report):
    page = Page(render_report(report))
    [policy] = [meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert set(rules) == {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}
    scripts = [script for script in page.scripts if not script.startswith("{")]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert rules["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    sources = [attributes["src"] for _, attributes in page.attributes if "src" in attributes]
    assert [source.split(",")[0] for source in sources] == ["data:image/png;base64"]
    links = [attributes["href"] for attributes in page.of("a")]
    assert [link for link in links if not link.startswith("#")] == [OUTSIDE]
    assert "link" not in page.tags


def test_the_page_is_built_of_headings_captions_and_headers(report):
    page = Page(render_report(report))
    assert page.of("html") == [{"lang": "en"}]
    assert page.tags.count("h1") == page.tags.count("title") == page.tags.count("main") == 1
    levels = [int(tag[1]) for tag in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(th.get("scope") in ("col", "row") for th in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {a["href"][1:] for a in page.of("a") if a["href"] != OUTSIDE} <= set(ids)
    assert all(label["for"] in ids for label in page.of("label"))
    assert all(img.get("alt") for img in page.of("img"))


def test_numbers_of_the_page_are_those_of_the_results(judged, report):
    split, results = judged
    row = results.summary().set_index(["model", "unit", "metric"]).loc[("pretrained", "patient", "auroc")]
    by_patient, by_window = result_tables(results.summary())
    assert (by_patient.unit, by_window.unit) == ("patient", "window")
    cell = by_patient.rows[0].cells[by_patient.metrics.index("AUROC")]
    assert cell.value == f"{row['mean']:.3f} ± {row['sd']:.3f}"
    assert cell.interval == f"[{row['low']:.2f}, {row['high']:.2f}]"
    assert by_patient.rows[0].track["low"] == pytest.approx(100 * row["low"])
    first, other, chance, patients = headline(report.summary, report.patients)
    assert first.value == f"{row['mean']:.3f}"
    assert "random weights" in other.label
    assert chance.value == "0.500"
    votes = results.by_patient(split.test.classes).query("model == 'pretrained'")
    assert patients.value == f"{votes['correct'].sum()} of {len(votes)}"
    text = " ".join(Page(render_report(report)).texts)
    assert cell.value in text
    assert cell.interval in text


def test_numbers_without_auroc_are_led_by_f1(judged):
    summary = judged[1].summary()
    summary.loc[summary["metric"].isin(["auroc", "auprc"]), ["mean", "sd", "low", "high"]] = np.nan
    assert result_tables(summary)[0].rows[0].track is None
    assert [number.label.split(" ")[0] for number in headline(summary, None)] == ["F1", "F1"]


def test_logged_values_are_grouped(report):
    groups = {group["name"]: group["lines"] for group in curves(report.history)}
    assert groups["Losses"] == [{"name": "train/loss", "epochs": [0, 1], "values": [2.0, 1.5]}]
    assert groups["Representation"][0]["name"] == "train/alignment"
    assert groups["Scores on validation windows"][0]["epochs"] == [1]


def test_the_leakage_statement(judged):
    split, _ = judged
    manifest = split.manifest
    assert [side.name for side in sides_of(manifest)] == ["training", "validation", "test"]
    assert sides_of(manifest)[2].windows == len(split.test)
    assert all(check.passed for check in (*check_manifest(manifest), check_split(split)))
    shared = {**manifest, "test": {**manifest["test"], "ids": [*manifest["test"]["ids"], manifest["train"]["ids"][0]]}}
    [check] = check_manifest(shared)
    assert not check.passed
    assert manifest["train"]["ids"][0] in check.text
    leaking = check_split(replace(split, test=split.train))
    assert not leaking.passed
    assert "stand on both sides" in leaking.text
    assert check_tested(manifest, manifest["test"]["ids"]).passed
    seen = check_tested(manifest, [*manifest["test"]["ids"], manifest["val"]["ids"][0]])
    assert not seen.passed
    assert manifest["val"]["ids"][0] in seen.text
    for begins, passed in (("2020-03-01", True), ("2020-01-15", False)):
        times = {"by": "time", "train": {"to": "2020-02-01"}, "test": {"from": begins}}
        [check] = check_manifest(times)
        assert check.passed is passed


def test_a_failed_check_is_said_first(report):
    page = Page(render_report(replace(report, checks=[Check(False, "Training saw P01.")])))
    assert page.texts.index("Not for unseen patients.") < page.texts.index("Leakage statement")


def test_parts_that_are_absent_have_no_section(tmp_path):
    path = write_report(
        Report("run", "A run.", results="one | two", notes={"results": "Run tscl evaluate."}), tmp_path / "a.html"
    )
    page = Page(path.read_text())
    assert page.tags.count("h2") == 1
    assert "Run tscl evaluate." in page.texts
    assert path.stat().st_size < 60_000
    assert page.tags.count("script") == 2
    assert [one.name for one in tmp_path.iterdir()] == ["a.html"]
