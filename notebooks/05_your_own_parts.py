# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own loss, head and encoder in 30 lines
#
# **Can a loss and a network of your own take part in COMET, in a configuration file and in the evaluation, without
# changing or registering anything in tscl?** The parts are in `own_parts.py` beside this notebook: copy the file and
# change it. It takes less than a minute on two cores.

# %%
from tscl.data import datasets

STUDY, ROOT = datasets.SimulatedEEG(n_patients=80, n_trials=2, sfreq=64.0, effect=2.0), None
# ^ the one line to change: STUDY, ROOT = datasets.EEGMat(), "/data/eegmat"   or   datasets.LUDB(), "/data/ludb"

# %%
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from own_parts import DecorrelationHead, GRUEncoder, decorrelation

import tscl
from tscl.encoders import DilatedConvEncoder, Encoder
from tscl.evaluation import ClassicalBaseline, evaluate
from tscl.heads import GroupHead
from tscl.plotting import results_bars

plt.rcParams["figure.dpi"] = 60
WORK = Path(tempfile.mkdtemp())
print(Path("own_parts.py").read_text())

# %% [markdown]
# - A **loss** is a function of tensors. Nothing else is asked of it.
# - A **head** says which pairs a loss sees: it names its level and its view pair, and gets the embeddings `(B, D, T)`
#   of both views and the ids of every level.
# - An **encoder** writes `features` from `(B, C, T)` to `(B, D, T')`, and `config`, from which it is built again when a
#   model is opened. NaN must not get through (`split_missing`), and the latent mask hides time steps behind the stem.
#
# ## Try the loss before you train
#
# Equal views without correlations between dimensions are near 0, unrelated ones near 1. A gradient has to be finite.

# %%
torch.manual_seed(0)
z = torch.randn(2000, 8, requires_grad=True)
print(f"equal views: {decorrelation(z, z).item():.3f}")
print(f"unrelated views: {decorrelation(z, torch.randn(2000, 8)).item():.3f}")
decorrelation(z, z + torch.randn(2000, 8)).backward()
print("finite gradient:", bool(z.grad.isfinite().all()))

# %% [markdown]
# ## In COMET
#
# Own parts beside tscl's. The heads share the embeddings of the view pairs that they name.

# %%
data = STUDY.load(ROOT)
split = data.split(by="patient", val=0.2, test=0.3, seed=0)
print(data)
model = tscl.COMET(
    encoder=lambda in_channels: GRUEncoder(in_channels, dim=32),
    heads=[DecorrelationHead(weight=1.0), GroupHead("trial", weight=0.2)],
    max_epochs=5,
    batch_size=64,
    lr=2e-3,
    random_state=0,
).fit(split.train)
model.history_.filter(regex="epoch|train/(sample|trial)$").round(2)

# %%
results = evaluate(
    model.encoder_,
    split,
    name="own parts",
    methods=["probe"],
    label_fractions=[1.0],
    baselines={
        "own encoder, random weights": lambda _: GRUEncoder(data.shape[1], dim=32),
        "dilated convolutions, random weights": lambda _: DilatedConvEncoder(data.shape[1], 32, 16, 4),
        "amplitudes": lambda _: ClassicalBaseline("amplitudes"),
    },
)
ax = results_bars(results.summary(), metric="auroc")
ax.axhline(0.5, color="grey", linestyle="--", linewidth=1)
plt.show()

# %% [markdown]
# The number that matters is the first bar against the second: what did **training with your loss** add to your
# network? Here nothing: the same network with random weights is ahead, as it may well be with an untuned loss and
# five epochs. Without that bar the first would have looked like a success. The whiskers are 95 % intervals over the
# test patients, and the data are simulated. Tune on `split.val`, not on these patients.
#
# ## Save and open
#
# The description names the class, `own_parts.GRUEncoder`, so whoever opens the model needs that file. `tscl export`
# writes ONNX for those who have neither.

# %%
model.save_pretrained(WORK / "model")
again = Encoder.from_pretrained(WORK / "model")
x = torch.from_numpy(data.numpy()[:4])
print(type(again).__name__, np.allclose(again(x).detach(), model.encoder_(x).detach()))

# %% [markdown]
# ## In a configuration
#
# A configuration names classes by `class_path`; the folder of your file has to be on Python's path. In a terminal:
# `PYTHONPATH=. tscl fit --config own.yaml`, then `tscl evaluate --run runs/own`.

# %%
CONFIG = f"""
seed_everything: 0
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder: {{class_path: own_parts.GRUEncoder, init_args: {{dim: 32}}}}
    heads:
      - {{class_path: own_parts.DecorrelationHead, init_args: {{weight: 1.0}}}}
      - {{class_path: tscl.heads.GroupHead, init_args: {{level: trial, weight: 0.2}}}}
    views:
      clean: tscl.augmenters.Identity
      masked: {{class_path: tscl.augmenters.LatentMask, init_args: {{kind: continuous}}}}
    lr: 2.0e-3
data:
  class_path: tscl.data.CohortDataModule
  init_args:
    study: {{class_path: tscl.data.datasets.SimulatedEEG, init_args: {{n_patients: 20, n_trials: 3, sfreq: 64.0}}}}
    batch_size: 64
    split: {{val: 0.2, test: 0.3}}
trainer:
  default_root_dir: {WORK / "runs" / "own"}
  max_epochs: 2
  enable_progress_bar: false
"""
(WORK / "own.yaml").write_text(CONFIG)
environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])}
tscl_fit = [sys.executable, "-m", "tscl.cli.main", "fit", "--config", str(WORK / "own.yaml")]
done = subprocess.run(tscl_fit, env=environment, capture_output=True, text=True)
print(done.stderr[-2000:] if done.returncode else sorted(path.name for path in (WORK / "runs" / "own").iterdir()))
