import logging

import numpy as np
import pandas as pd
import pytest

from tscl.errors import ConfigError, DataError
from tscl.evaluation import RetrievalResults, retrieval_metrics, word_chance

M = 30
WORDS = [f"w{i % 20}" for i in range(M - 1)] + [None]


def candidates(sound="a.wav"):
    return pd.DataFrame({"segment": np.arange(M), "sound": sound, "sound_onset": np.arange(M) * 1.0, "word": WORDS})


def results(model="net", seed=0, subjects="abc", draw=0, **kwargs):
    rng = np.random.default_rng(draw)
    parts = []
    for number, subject in enumerate(subjects):
        n = 10 + 3 * number
        segment = np.arange(n)
        ranks = np.minimum(rng.integers(1, 3 + 9 * number, size=n), M).astype(float)
        words = np.minimum(ranks, 20)
        words[segment == M - 1] = np.nan
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "seed": seed,
                    "subject": subject,
                    "segment": segment,
                    "rank": ranks,
                    "tied": 1.0,
                    "word_rank": words,
                    "word_tied": np.where(np.isnan(words), np.nan, 1.0),
                }
            )
        )
    return RetrievalResults(pd.concat(parts, ignore_index=True), candidates(), tuple(subjects), **kwargs)


def test_the_summary_pools_queries_and_draws_subjects():
    part = results()
    summary = part.summary(level=0.9, n_resamples=300, seed=3).set_index("metric")
    assert list(summary.index) == list(part.metrics)
    pooled = retrieval_metrics(part.table["rank"].to_numpy(), M)
    assert summary.loc[list(pooled), "mean"].to_dict() == pytest.approx(pooled)
    copies = np.random.default_rng(3).multinomial(3, [1 / 3] * 3, size=300)
    for prefix, m in (("", M), ("word_", 20)):
        ranks = [rows[f"{prefix}rank"].dropna() for _, rows in part.table.groupby("subject")]
        again = [
            retrieval_metrics(np.concatenate([np.repeat(r, c) for r, c in zip(ranks, row, strict=True)]), m)
            for row in copies
        ]
        for name in pooled:
            low, high = np.quantile([one[name] for one in again], [0.05, 0.95])
            found = summary.loc[prefix + name]
            assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert summary["sd"].isna().all()


def test_a_median_of_an_even_number_lies_between_two_ranks():
    part = results(subjects="ab")
    part.table = part.table.groupby("subject").head(1).assign(rank=[1.0, 21.0])
    row = part.summary(level=0.01, n_resamples=400).set_index("metric").loc["median_relative_rank"]
    assert row[["mean", "low", "high"]].tolist() == pytest.approx([10 / 29] * 3)


def test_ties_count_in_summary_and_interval_alike():
    part = results()
    part.table["rank"], part.table["tied"] = (M + 1) / 2, float(M)
    summary = part.summary(n_resamples=50).set_index("metric").loc[["top1", "top5", "top10", "median_relative_rank"]]
    for column in ("low", "high", "chance"):
        assert summary[column].to_numpy() == pytest.approx(summary["mean"].to_numpy())


def test_seeds_are_averaged():
    parts = [results(seed=0, draw=0), results(seed=1, draw=1)]
    joined = RetrievalResults.side_by_side(parts)
    single = [part.summary().set_index("metric")["mean"] for part in parts]
    summary = joined.summary().set_index("metric")
    np.testing.assert_allclose(summary["mean"], (single[0] + single[1]) / 2)
    np.testing.assert_allclose(summary["sd"], np.std(single, axis=0, ddof=1))
    assert (summary["seeds"] == 2).all()
    expected = [part.by_subject().query("model == 'net'")["top5"].to_numpy() for part in parts]
    np.testing.assert_allclose(joined.by_subject().query("model == 'net'")["top5"], np.mean(expected, axis=0))


def test_one_subject_has_no_interval(caplog):
    with caplog.at_level(logging.WARNING):
        summary = results(subjects="a").summary()
    assert summary[["low", "high"]].isna().all(axis=None)
    assert summary["mean"].notna().all()
    assert [record.message for record in caplog.records] == ["one subject only: an interval over subjects is undefined"]


def test_chance_stands_beside():
    part = results()
    expected = word_chance(WORDS, part.table["segment"].to_numpy())
    chance = part.chance()
    assert chance["top10"] == pytest.approx(10 / M)
    assert chance["median_relative_rank"] == 0.5
    assert {name: chance[f"word_{name}"] for name in expected} == expected
    text = part.to_markdown(["top10", "word_top1"])
    assert text.splitlines()[0] == "| model | top-10 | word top-1 |"
    assert f"| chance | 0.333 | {expected['top1']:.3f} |" in text.splitlines()


def test_the_statement_says_what_was_ranked():
    text = results().to_markdown().splitlines()[-1]
    assert text == results().statement()
    assert "Candidates: 30 distinct segments" in text
    assert "share one candidate" in text
    assert "Queries: 39 windows of 3 subjects." in text
    assert "Words: 20 distinct; 1 candidates and 0 queries without a word" in text


def test_a_subject_without_queries_is_listed_with_nan():
    part = results()
    part.subjects = ("a", "nobody", "b", "c")
    table = part.by_subject().set_index(["model", "subject"])
    assert list(table.loc["net"].index) == ["a", "nobody", "b", "c"]
    assert table.loc[("net", "nobody"), "queries"] == 0
    assert table.loc[[("net", "nobody"), ("chance", "nobody")], list(part.metrics)].isna().all(axis=None)
    own = part.table.query("subject == 'b'")["rank"].to_numpy()
    assert table.loc[("net", "b"), "top5"] == pytest.approx((own <= 5).mean())
    assert "(1 more without a test segment)" in part.statement()


def test_few_words_leave_word_accuracy_out():
    part = results()
    part.candidates["word"] = ["a", "b"] * (M // 2)
    part.table["word_rank"] = 1.5
    part.table["word_tied"] = 2.0
    summary = part.summary(n_resamples=20).set_index("metric")["mean"]
    assert summary["word_top1"] == 0.5
    assert np.isnan(summary["word_top5"])
    part = results()
    part.candidates["word"] = None
    assert part.metrics == ("top1", "top5", "top10", "median_relative_rank")
    assert "not judged" in part.to_markdown()


def test_side_by_side_keeps_models_apart_and_refuses_other_test_sets():
    joined = RetrievalResults.side_by_side([results("net"), results("linear", draw=5)])
    assert joined.summary()["model"].unique().tolist() == ["net", "linear"]
    assert len(joined.to_markdown().splitlines()) == 7
    other = results("linear")
    other.candidates = candidates("b.wav")
    with pytest.raises(DataError, match="'linear' are of other candidates"):
        RetrievalResults.side_by_side([results(), other])
    with pytest.raises(DataError, match="'linear' are of other windows"):
        RetrievalResults.side_by_side([results(), results("linear", subjects="ab")])
    with pytest.raises(DataError, match="'net' was judged twice with seed 0"):
        RetrievalResults.side_by_side([results(), results(draw=4)])
    with pytest.raises(DataError, match="no results"):
        RetrievalResults.side_by_side([])


def test_bad_requests_are_refused():
    with pytest.raises(ConfigError, match="top-30 accuracy among 30"):
        results(ks=(1, 30))
    with pytest.raises(DataError, match="no metrics"):
        results().to_markdown(["auroc"])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        results().summary(level=95)


def test_the_csv_is_the_table(tmp_path):
    part = results()
    path = part.to_csv(tmp_path / "deep" / "ranks.csv")
    pd.testing.assert_frame_equal(pd.read_csv(path), part.table)
    assert [one.name for one in path.parent.iterdir()] == ["ranks.csv"]
