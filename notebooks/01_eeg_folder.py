# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own EEG folder, to patient-independent results
#
# A folder of EEG files; from every patient one recording *before* and one *after* a sedative. **Can a model that
# never saw a patient tell the two recordings apart?** Without files of your own the notebook simulates the folder: 24
# people, whose alpha rhythm slows down and weakens and whose theta rhythm grows. It takes about a minute on two
# cores.

# %%
FOLDER = None  # <- the one line to change: the folder of your recordings, such as "/data/eeg"; None simulates one

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np

import tscl
from tscl.data import check_leakage, kfold
from tscl.data.datasets import Folder, SimulatedEEG
from tscl.data.preprocessing import (
    BandPass,
    Clip,
    FixedTrials,
    PickChannels,
    Preprocessing,
    Resample,
    Rescale,
    SlidingWindows,
)
from tscl.encoders import DilatedConvEncoder
from tscl.errors import LeakageError
from tscl.evaluation import ClassicalBaseline, LinearProbe, Results, evaluate
from tscl.plotting import embedding_map, results_bars, training_curves

plt.rcParams["figure.dpi"] = 60
mne.set_log_level("ERROR")
WORK = Path(tempfile.mkdtemp())  # the simulated files and the saved model

# %% [markdown]
# ## The files
#
# Your files may be EDF, BDF, FIF, BrainVision, EEGLAB or WFDB. Their names say whose they are, and here also the
# condition: `P04_before_raw.fif`, `Subject01_2.edf`. If yours are named otherwise, change the expression in
# `Folder(patient=...)` below, or use `patient="parent"` when every patient has a folder. A label that belongs to the
# patient, such as a diagnosis, comes from a table instead: `Folder(participants="participants.csv",
# target="diagnosis")`.

# %%
CHANNELS = ("Fp1", "Fp2", "F3", "F4", "F7", "F8", "C3", "C4", "P3", "P4", "O1", "O2", "Fz", "Cz", "Pz")


def simulate_folder(folder: Path) -> Path:
    """Write two recordings of 40 s of each of 24 people as FIF files."""
    folder.mkdir()
    for number, (condition, effect) in enumerate({"before": 0.0, "after": 1.0}.items()):
        cohort = SimulatedEEG(48, n_trials=2, n_windows=19, seconds=4.0, sfreq=128.0, ch_names=CHANNELS, effect=effect)
        for recording in cohort.recordings():
            patient, trial = recording.ids["trial"].split("/")
            if recording.labels["disease"] and int(trial) == number:  # those on whom the sedative works
                info = mne.create_info(list(CHANNELS), recording.sfreq, "eeg")
                raw = mne.io.RawArray(recording.data * 1e-6, info)  # uV to V
                raw.save(folder / f"{patient}_{condition}_raw.fif")
    return folder


folder = Path(FOLDER) if FOLDER else simulate_folder(WORK / "recordings")
study = Folder(patient=r"(?P<patient>[A-Za-z]+\d+)_(?P<condition>[A-Za-z0-9]+)", target="condition")
recipe = Preprocessing(
    steps=[PickChannels(CHANNELS), BandPass(1.0, 45.0), Resample(100.0), Clip(150.0), Rescale(0.1, "10 uV")],
    trials=FixedTrials(20.0),
    windows=SlidingWindows(4.0),
)
data = study.load(folder, preprocessing=recipe)
print(data)
print("classes:", data.classes)
data.metadata[["patient", "recording", "trial", "condition", "onset"]].head(3)

# %% [markdown]
# The levels: a **patient** has recordings, a **recording** has **trials** of 20 s, a trial has **windows** of 4 s.
# The label changes within a patient, from one recording to the other. One window of each condition of the first
# patient:

# %%
shown = data.channels.names[-6:]  # P4 to Pz
figure, axes = plt.subplots(1, len(data.classes), figsize=(10, 3.2), sharey=True, layout="constrained")
for code, (condition, ax) in enumerate(zip(data.classes, axes, strict=True)):
    own = (data.metadata["patient"] == data.metadata["patient"].iloc[0]).to_numpy() & (data.y == code)
    window = 10 * data.select(own).numpy()[0, -6:]  # uV
    times = np.arange(window.shape[1]) / data.channels.sfreq
    ax.plot(times, (window - 60 * np.arange(6)[:, None]).T, "k", linewidth=0.7)
    ax.set_yticks(-60 * np.arange(6), shown)
    ax.set_title(f"{condition} (60 uV between lines)", fontsize=10)
    ax.set_xlabel("time (s)")
plt.show()

# %% [markdown]
# ## Why patients must not stand on two sides
#
# A split by window would put pieces of the same recording into training and test. The model would then know the
# people, and the number would say little about the next patient. `check_leakage` refuses such a split; `evaluate`
# calls it as well.

# %%
shuffled = np.random.default_rng(0).permutation(len(data))
half = len(data) // 2
try:
    check_leakage(data.select(shuffled[:half]), data.select(shuffled[half:]))
except LeakageError as error:
    print(str(error)[:160], "...")

# %% [markdown]
# ## Pretraining and evaluation
#
# Patients are parted into three folds. For every fold COMET is trained **without labels** on the training patients, a
# logistic regression learns the label from its embeddings of them, and the patients of the fold are predicted once.
# The rivals: the same network with random weights, and band powers, the classical features.
#
# *Calibrated* models centre each patient's embeddings. That needs no label, but all of that patient's recordings;
# report it as what it is.

# %%
heads = {"observation": 0.3, "sample": 0.3, "trial": 0.2, "recording": 0.2}  # not "patient": the label changes within
folds = []
for seed, split in enumerate(kfold(data, n_splits=3, val=0.15, seed=0)):
    model = tscl.COMET(
        heads=heads, dim=32, hidden=16, depth=4, max_epochs=5, batch_size=64, lr=1e-3, random_state=seed
    ).fit(split.train)
    protocol = {"methods": ["probe"], "label_fractions": [1.0], "seeds": [seed]}
    plain = evaluate(
        model.encoder_,
        split,
        name="COMET",
        baselines={
            "random weights": lambda _: DilatedConvEncoder(data.shape[1], dim=32, hidden=16, depth=4),
            "band powers": lambda _: ClassicalBaseline("band_powers"),
        },
        **protocol,
    )
    calibrated = evaluate(
        model.encoder_,
        split,
        name="COMET, calibrated",
        pooling="logstd",
        centre_by="patient",
        baselines={"band powers, calibrated": lambda _: ClassicalBaseline("band_powers", standardise_by="patient")},
        **protocol,
    )
    folds.append(Results.side_by_side([plain, calibrated]))
results = Results.join(folds)
summary = results.summary().query("unit == 'recording' and metric == 'auroc'")
summary[["model", "mean", "sd", "low", "high"]].round(2).reset_index(drop=True)

# %%
ax = results_bars(results.summary(), metric="auroc")
ax.axhline(0.5, color="grey", linestyle="--", linewidth=1)
plt.show()

# %% [markdown]
# **How to read it.** AUROC of whole recordings, whose windows vote: mean over folds, and a 95 % bootstrap interval
# over the 24 patients. Half is chance. The intervals are wide because there are few patients, not few windows. People
# differ more than conditions do, so centring each patient helps most. Band powers do well here, because the
# simulation changes exactly what they measure: **simulated data say that the pipeline works, and nothing about
# sedation**. On your data keep all rows.
#
# ## A look inside
#
# The last fold's training, and its embeddings of patients that it never saw.

# %%
figure, axes = plt.subplots(1, 3, figsize=(14, 3.8), layout="constrained")
training_curves(model.history_, [f"train/{name}" for name in heads], ax=axes[0])
embeddings = model.transform(split.test)
embedding_map(embeddings, split.test.metadata["patient"].to_numpy(), ax=axes[1], title="patient")
embedding_map(embeddings, split.test.metadata["condition"].to_numpy(), ax=axes[2], title="condition")
plt.show()

# %% [markdown]
# ## Keep the model, and use it
#
# The folder holds safetensors and JSON in the layout of the Hugging Face hub. Whoever has it embeds new recordings
# with the same recipe; what is fitted on labels is a logistic regression. On the command line `tscl fit`, `tscl
# embed` and `tscl export` (ONNX) do the same; see `configs/comet/folder.yaml`.

# %%
model.save_pretrained(WORK / "model", card={"license": "mit"})
again = tscl.COMET.from_pretrained(WORK / "model")
probe = LinearProbe().fit(again.transform(split.train), split.train.y, n_classes=len(data.classes))

new = split.test.metadata[["patient", "recording", "condition"]].copy()
new[f"P({data.classes[1]})"] = probe.predict_proba(again.transform(split.test))[:, 1]
recordings = new.groupby(["patient", "recording", "condition"]).mean().round(2).reset_index()
recordings.head(6)

# %% [markdown]
# A row is a recording of a patient whom neither the encoder nor the regression knew. Within a patient the order is
# often right where the number itself is not: that is what centring makes use of.
