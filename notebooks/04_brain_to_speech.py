# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain to speech: which stretch of speech was heard?
#
# **From two seconds of MEG or EEG, find the stretch of speech that the person heard, among all stretches of speech
# that were never heard in training** (after Defossez et al. 2023). The study is simulated: four people, two with 102
# magnetometers and two with 32 electrodes, listen to four minutes of synthetic speech. It takes about a minute on two
# cores.

# %%
from tscl.data import datasets

STUDY, ROOT, SPEECH = datasets.SimulatedSpeech(n_subjects=4, snr=-20.0, minutes=4), None, None
# ^ the one line to change. A real study: STUDY, ROOT, SPEECH = datasets.Gwilliams2022(), "/data/gwilliams2022", None
#   Your own sounds, simulated brains: datasets.SimulatedSpeech(n_subjects=4), None, "/data/wav_files"

# %%
import logging
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import tscl
from tscl.data.speech import LogMel, SpeechDataModule
from tscl.evaluation import BackwardModel, evaluate_retrieval
from tscl.plotting import accuracy_by_subject, attention_map, rank_histogram, training_curves

plt.rcParams["figure.dpi"] = 60
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
WORK = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Recordings, words, sounds
#
# A study gives recordings and the words that were heard in them, with the place of each word in its sound file. A
# **window** begins at a word and lasts 2 s; the brain is taken 150 ms later than the sound. What is to be matched are
# 20 mel bands of the sound.

# %%
module = SpeechDataModule(STUDY, LogMel(n_bands=20), root=ROOT, speech=SPEECH, seconds=2.0, block_seconds=10.0)
module.load()
module.setup()
split = module.split
print(module.data)
split.train.metadata[["patient", "recording", "word", "sequence", "sound_onset", "onset"]].head(3)

# %% [markdown]
# **Every sentence is heard by every subject**, so a split by patient would leak the speech. Blocks of whole sentences
# go to training, validation or test, the same for all subjects; windows that reach into another side's block are left
# out, and `check_stimuli` refuses sides that share a sentence or a stretch of sound.

# %%
for side in ("train", "val", "test"):
    windows = getattr(split, side)
    print(f"{side}: {len(windows)} windows, {windows.metadata['sequence'].nunique()} sentences")

# %%
row = np.array([len(split.test) // 2])
batch = split.test[row]
figure, axes = plt.subplots(2, 1, figsize=(8, 4.2), sharex=True, layout="constrained")
extent = (0.0, 2.0, 0.0, 1.0)
axes[0].imshow(batch.paired["speech"][0], origin="lower", aspect="auto", extent=(*extent[:2], 0, 20), cmap="magma")
axes[0].set_ylabel("mel band")
axes[0].set_title(f'what was heard, from the word "{split.test.metadata["word"].iloc[row[0]]}" on', fontsize=10)
known = batch.x[0].isfinite().all(dim=1)
axes[1].plot(np.linspace(0, 2, batch.x.shape[2]), batch.x[0][known].T[:, ::8], linewidth=0.6)
axes[1].set_ylabel("sensors (scaled)")
axes[1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# ## Training
#
# The encoder attends over sensor positions, so subjects with different sensors share it, and has a layer for every
# subject. Its output for a window has to match the speech that was heard better than the speech of the other windows.
# Training ends by the validation sentences.

# %%
decoder = tscl.SpeechDecoder(
    virtual=16, hidden=32, n_frequencies=6, max_epochs=7, batch_size=64, lr=3e-3, random_state=0
).fit(split)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
training_curves(decoder.history_, ["train/loss", "val/loss"], ax=axes[0])
training_curves(decoder.history_, ["val/accuracy"], ax=axes[1])
plt.show()

# %% [markdown]
# ## Evaluation
#
# For every test window all distinct stretches of test speech are ranked. The rival is the classical backward model, a
# ridge regression of each subject. Intervals are over subjects; chance stands in the last row.

# %%
linear = BackwardModel().fit(split.train, split.val)
results = evaluate_retrieval({"decoder": decoder.encoder_, "linear": linear}, split.test)
print(results.to_markdown(metrics=["top1", "top10", "median_relative_rank"], statement=False))
print(f"\n{results.n_candidates} candidates")

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
ranks = results.table.loc[results.table["model"] == "decoder", "rank"].to_numpy()
rank_histogram(ranks, results.n_candidates, ax=axes[0])
accuracy_by_subject(results.by_subject(), "top10", ax=axes[1])
plt.show()

# %% [markdown]
# **How to read it.** The responses are simulated: nearly linear in the sound, and more so than any real brain. The
# table says that alignment, split, training and ranking fit together, and that noise of 20 dB above the response can
# be averaged out over sensors and time; it says nothing about how well a real brain can be read. Four subjects are
# too few for an interval to mean much. On real data expect far lower numbers, and look at chance first.
#
# ## Which sensors?
#
# Mean attention over the sensors of the first test subject.

# %%
sensors = split.test[[0]].sensors
placed = sensors.positions[0].isfinite().all(dim=1)
with torch.inference_mode():
    weights = decoder.encoder_.eval().attention.weights(sensors.positions)[0].mean(dim=0)
ax = attention_map(weights[placed].numpy(), sensors.positions[0][placed].numpy())
plt.show()

# %% [markdown]
# ## Keep it, and use it
#
# The decoder keeps the sensors of its subjects. A new window of a known subject is compared with any candidates; a
# new subject needs a few minutes of calibration: `decoder.adapt(X, speech, subject="new", positions=...)` trains one
# matrix and leaves the rest as it is.

# %%
decoder.save_pretrained(WORK / "decoder", card={"license": "mit"})
again = tscl.SpeechDecoder.from_pretrained(WORK / "decoder")
chosen = split.test.metadata.drop_duplicates("segment").index.to_numpy()  # one window of each stretch
candidates = split.test[chosen].paired["speech"].numpy()
best = again.rank(split.test.select(row), candidates)[0, :5]
words = split.test.metadata["word"].to_numpy()
print("heard:", words[row[0]], "- likeliest:", words[chosen[best]].tolist())
