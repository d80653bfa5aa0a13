"""Pieces of the configurations that several tests of two processes train."""

LEARNER = """\
seed_everything: 0
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder: {class_path: tscl.encoders.DilatedConvEncoder, init_args: {dim: 8, hidden: 8, depth: 2}}
"""
COHORT = """\
data:
  class_path: tscl.data.CohortDataModule
  init_args:
    study: {class_path: tscl.data.datasets.SimulatedECG, init_args: {n_patients: 8, n_trials: 2}}
    batch_size: 8
    split: {val: 0.2, test: 0.3, seed: 0}
"""
