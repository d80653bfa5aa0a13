"""The configurations for clusters, on two CPU processes: started by Lightning, and by what stands in for srun."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from tscl.encoders import load_encoder

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"),
    *("--model.init_args.encoder.init_args.dim", "8", "--model.init_args.encoder.init_args.hidden", "8"),
    *("--data.init_args.study.init_args.n_patients", "8", "--data.init_args.study.init_args.n_trials", "2"),
    *("--data.init_args.batch_size", "32", "--trainer.callbacks", "[]"),
]


def start(overlay, folder, *options, **environment):
    files = [word for name in ("comet/simulated_ecg.yaml", overlay) for word in ("--config", str(CONFIGS / name))]
    command = [sys.executable, "-m", "tscl.cli.main", "fit", *files, *SMALL, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", **environment}
    place = ["--trainer.default_root_dir", str(folder)]
    return subprocess.Popen([*command, *place], env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True)


def finish(*processes):
    for process in processes:
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said[-3000:]


def test_one_node_and_slurm_train_the_same_model(tmp_path):
    finish(start("cluster/one_node.yaml", tmp_path / "node", "--trainer.devices", "2"))

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "tscl", "SLURM_NTASKS": "2", "SLURM_NNODES": "2"}
    job |= {"SLURM_JOB_NODELIST": "127.0.0.1", "SLURM_NTASKS_PER_NODE": "1", "MASTER_ADDR": "127.0.0.1"}
    tasks = [
        start(
            *("cluster/slurm.yaml", tmp_path / "slurm", "--trainer.devices", "1"),
            **{**job, "MASTER_PORT": port, "SLURM_PROCID": rank, "SLURM_NODEID": rank, "SLURM_LOCALID": "0"},
        )
        for rank in ("0", "1")
    ]
    finish(*tasks)

    node, slurm = (load_encoder(tmp_path / name).state_dict() for name in ("node", "slurm"))
    for name, value in node.items():
        assert torch.equal(value, slurm[name]), name
    assert len(list((tmp_path / "slurm" / "tensorboard").glob("events*"))) == 1
