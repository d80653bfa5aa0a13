# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # ECG: from heartbeats to a diagnosis of the patient
#
# **Does an encoder that was trained without labels help to diagnose patients whom it never saw, above all when few
# patients have a diagnosis?** The data are electrocardiograms of people with and without a disease. Without files the
# cohort is simulated: 80 people, half of whom have a lowered ST segment and a flat T wave. With LUDB (12 leads,
# ventricular hypertrophy or not) or PTB (15 leads, myocardial infarction or not) only one line changes. It takes
# about a minute on two cores.

# %%
from tscl.data import datasets

STUDY, ROOT = datasets.SimulatedECG(n_patients=80, n_trials=1, n_windows=14, sfreq=125.0, effect=0.7), None
# ^ the one line to change: STUDY, ROOT = datasets.LUDB(), "/data/ludb"   or   datasets.PTB(), "/data/ptb"

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import tscl
from tscl.data.preprocessing import BandPass, HeartbeatTrials, Preprocessing, Rescale, SlidingWindows
from tscl.encoders import DilatedConvEncoder
from tscl.evaluation import ClassicalBaseline, Results, evaluate
from tscl.plotting import embedding_map, results_bars, similarity_matrix

plt.rcParams["figure.dpi"] = 60
WORK = Path(tempfile.mkdtemp())

# %% [markdown]
# ## From recordings to heartbeats
#
# The recipe of the COMET paper: R peaks are found in every lead, a beat is its peak plus and minus half of the median
# R-R interval, padded to a common length; ten adjacent beats are a **trial**, a beat is a **window**. Amplitudes stay
# in mV (times 5), because the disease is read from them. Recordings in which no beats can be told are left out and
# listed in `data.skipped`.

# %%
recipe = Preprocessing(
    steps=[BandPass(0.5, 40.0, order=2), Rescale(5.0, "0.2 mV")],
    trials=HeartbeatTrials(sfreq=125.0, length=150, beats=10, incomplete="keep"),
    windows=SlidingWindows(1.2),
)
data = STUDY.load(ROOT, preprocessing=recipe, on_error="skip")
print(data)
print("label:", data.target, "- patients:", data.metadata.groupby(data.target)["patient"].nunique().to_dict())
print("left out:", len(data.skipped))

# %% [markdown]
# The mean beat of every patient (thin), and their mean over a class (thick). The classes overlap: no single lead
# decides.

# %%
X, patients = data.numpy(), data.metadata["patient"].to_numpy()
names = list(data.channels.names)[-4:]
times = np.arange(X.shape[2]) / data.channels.sfreq - 0.6
figure, axes = plt.subplots(1, len(names), figsize=(13, 3), sharey=True, layout="constrained")
for ax, name in zip(axes, names, strict=True):
    lead = pd.DataFrame(X[:, data.channels.names.index(name)] / 5).groupby(patients).mean()
    of_patient = pd.Series(data.y).groupby(patients).first()
    for code, colour in enumerate(("#33598f", "#c9771c")):
        ax.plot(times, lead[of_patient == code].T, color=colour, linewidth=0.4, alpha=0.25)
        ax.plot(times, lead[of_patient == code].mean(), color=colour, linewidth=2, label=f"{data.classes[code]}")
    ax.set_title(name, fontsize=10)
    ax.set_xlabel("time from the R peak (s)")
axes[0].set_ylabel("mV")
axes[-1].legend(title=data.target, fontsize=8)
plt.show()

# %% [markdown]
# ## Patients on three sides, then pretraining
#
# Half of the patients train, 15 % choose penalties and epochs, 35 % judge. COMET contrasts at every level: time
# steps, beats, trials, patients. It sees no diagnosis.

# %%
split = data.split(by="patient", val=0.15, test=0.35, seed=0)
print({side: part.metadata["patient"].nunique() for side, part in split.sides.items()}, "patients")
pooling = "mean/7+max/7"  # a beat's embedding keeps seven stretches of time: P, QRS, ST, T lie at known places
model = tscl.COMET(
    dim=64, hidden=32, depth=4, max_epochs=6, batch_size=128, lr=1e-3, pooling=pooling, random_state=0
).fit(split.train)
model.history_.filter(regex="epoch|train/(observation|sample|trial|patient)").round(2)

# %% [markdown]
# ## Does it help?
#
# A logistic regression on frozen embeddings (probe), and encoder and head trained together (finetune). Random weights
# with finetuning are the usual supervised network. Everything once with all diagnoses of the training patients, the
# probe also with those of a quarter of them, drawn three times. A patient's beats vote.

# %%
shared = {"name": "COMET", "pooling": pooling}


def random_weights(_: int) -> DilatedConvEncoder:
    """The same architecture, untrained; `evaluate` seeds torch."""
    return DilatedConvEncoder(data.shape[1], dim=64, hidden=32, depth=4)


probe = evaluate(
    model.encoder_,
    split,
    methods=["probe"],
    label_fractions=[1.0, 0.25],
    baselines={
        "random weights": random_weights,
        "beat amplitudes": lambda _: ClassicalBaseline("amplitudes", median_over="patient"),
    },
    **shared,
)
finetune = evaluate(
    model.encoder_,
    split,
    methods=["finetune"],
    label_fractions=[1.0],
    seeds=[0],
    finetune={"max_epochs": 12, "lr": 1e-3, "patience": 4},
    baselines={"random weights": random_weights},
    **shared,
)
results = Results.side_by_side([probe, finetune])
summary = results.summary().query("unit == 'patient' and metric == 'auroc'")
summary[["model", "method", "fraction", "mean", "sd", "low", "high"]].round(2).reset_index(drop=True)

# %%
ax = results_bars(results.summary(), metric="auroc")
ax.axhline(0.5, color="grey", linestyle="--", linewidth=1)
plt.show()

# %% [markdown]
# **How to read it.** The bars are AUROC by patient, the whiskers 95 % bootstrap intervals over the test patients.
# There are fewer than thirty of these, and the whiskers of all learned models overlap: on such a cohort one cannot
# say that one is better. Look at three things before you believe a difference on your own data: whether the interval
# of the *difference* leaves zero, whether it holds for another `seed` of the split, and whether random weights do as
# well. The cohort is simulated, so the numbers say that the steps work, and nothing about ischaemia.
#
# ## What the embedding knows
#
# Beats of unseen patients: coloured by diagnosis, and the similarity of those of ten patients. Blocks on the diagonal
# are people whose beats are alike, which is what the patient level was trained for.

# %%
embeddings = model.transform(split.test)
figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
embedding_map(embeddings, split.test.metadata[data.target].to_numpy(), ax=axes[0], title=data.target)
tested = split.test.metadata["patient"].to_numpy()
few = np.isin(tested, np.unique(tested)[:10])
similarity_matrix(embeddings[few], tested[few], ax=axes[1])
plt.show()

# %% [markdown]
# ## Keep it
#
# `split.manifest` says which patients stood where; keep it with the model, so that nobody judges it on patients that
# it was trained on (`tscl.data.check_seen`; a run of `tscl fit` does this by itself).

# %%
import json

model.save_pretrained(WORK / "model", card={"license": "mit"})
(WORK / "split.json").write_text(json.dumps(split.manifest))
again = tscl.COMET.from_pretrained(WORK / "model")
print(sorted(path.name for path in (WORK / "model").iterdir()), np.array_equal(again.transform(split.test), embeddings))
