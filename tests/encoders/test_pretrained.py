import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from tscl.encoders import BrainConv, CausalConvEncoder, DilatedConvEncoder, Encoder, save_encoder
from tscl.encoders.pretrained import write_pretrained
from tscl.errors import ConfigError, DataError, DataNotFoundError
from tscl.types import Sensors


def small(kind=DilatedConvEncoder):
    torch.manual_seed(0)
    return kind(3, 4, 4, 2).eval()


@pytest.mark.parametrize("kind", [DilatedConvEncoder, CausalConvEncoder])
def test_an_encoder_comes_back_by_its_own_class_and_by_the_base(kind, tmp_path):
    encoder, x = small(kind), torch.randn(2, 3, 20)
    folder = encoder.save_pretrained(tmp_path / "deep" / "model")
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    for opener in (kind, Encoder):
        again = opener.from_pretrained(str(folder))
        assert type(again) is kind
        assert not again.training
        assert torch.equal(again(x), encoder(x))
    with pytest.raises(DataError, match=rf"holds a {kind.__name__}, not a BrainConv"):
        BrainConv.from_pretrained(folder)
    with pytest.raises(DataError, match="exists already"):
        encoder.save_pretrained(folder)


def test_an_encoder_of_sensors_comes_back_with_its_added_subject(tmp_path):
    encoder = BrainConv(5, 4, 2, virtual=3, hidden=4, n_frequencies=2).eval()
    encoder.add_subject()
    x, sensors = torch.randn(2, 5, 20), Sensors(torch.rand(2, 5, 2), torch.tensor([2, -1]))
    again = Encoder.from_pretrained(encoder.save_pretrained(tmp_path / "model"))
    assert torch.equal(again(x, sensors=sensors), encoder(x, sensors=sensors))
    assert "sensors=sensors" in (tmp_path / "model" / "README.md").read_text()


def test_the_folder_of_a_run_is_opened_too(tmp_path):
    encoder = small()
    save_encoder(encoder, tmp_path)
    assert torch.equal(Encoder.from_pretrained(tmp_path).stem.weight, encoder.stem.weight)


def test_the_card_has_front_matter_and_an_example(tmp_path):
    folder = small().save_pretrained(tmp_path / "model", card={"license": "mit", "tags": ["eeg"]})
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "tscl",
        "pipeline_tag": "feature-extraction",
        "tags": ["eeg"],
        "license": "mit",
    }
    assert "Encoder.from_pretrained('model')" in text
    assert "| in_channels | 3 |" in text


def test_no_device_is_written(tmp_path):
    """Weights on a device other than the CPU come out as CPU tensors; the file knows no device."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = small().to(device).save_pretrained(tmp_path / "model")
    again = Encoder.from_pretrained(folder)
    assert {parameter.device.type for parameter in again.parameters()} == {"cpu"}
    assert {value.device.type for value in load_file(folder / "model.safetensors").values()} == {"cpu"}
    assert "cuda" not in (folder / "config.json").read_text()


def test_weights_without_values_are_not_saved_as_if_they_were(tmp_path):
    with pytest.raises(NotImplementedError, match="meta"):
        small().to("meta").save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model" / "config.json").exists()


def changed(folder, **entries):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_what_is_wrong_with_a_folder_is_said_in_one_sentence(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"holds no saved model: config\.json is missing"):
        Encoder.from_pretrained(tmp_path)
    folder = small().save_pretrained(tmp_path / "model")
    changed(folder, format_version=99)
    with pytest.raises(DataError, match="has format 99, this version of tscl reads 2 and earlier"):
        Encoder.from_pretrained(folder)
    kind = "tscl.encoders.dilated_conv.DilatedConvEncoder"
    cases = [
        ({}, DataError, "does not describe an encoder"),
        ({"class_path": kind, "init_args": {"width": 3}}, ConfigError, "cannot be built from the init_args"),
        ({"class_path": "os.system", "init_args": {}}, ConfigError, "is not a torch module"),
        ({"class_path": "nowhere.Encoder", "init_args": {}}, ConfigError, "cannot be imported"),
    ]
    for encoder, error, message in cases:
        changed(folder, format_version=2, encoder=encoder)
        with pytest.raises(error, match=message):
            Encoder.from_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="was not written by tscl"):
        Encoder.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        Encoder.from_pretrained(folder)


def test_missing_and_damaged_weights_are_named(tmp_path):
    folder = small().save_pretrained(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"model\.safetensors is damaged"):
        Encoder.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(DataNotFoundError, match=r"model\.safetensors does not exist"):
        Encoder.from_pretrained(folder)


def test_any_module_is_written_but_says_that_it_cannot_be_rebuilt(tmp_path):
    write_pretrained(tmp_path, nn.Linear(2, 3), "model")
    with pytest.raises(ConfigError, match=r"Linear, which has no config\(\)"):
        Encoder.from_pretrained(tmp_path)


def test_a_name_of_the_hub_is_not_fetched_unasked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataNotFoundError, match="user/model is not a folder here: pass local_files_only=False"):
        Encoder.from_pretrained("user/model")
    with pytest.raises(DataNotFoundError, match="nowhere is not a folder"):
        Encoder.from_pretrained("nowhere", local_files_only=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match="which is not installed: pip install huggingface_hub"):
        Encoder.from_pretrained("user/model", local_files_only=False)


def test_a_model_in_the_cache_of_the_hub_opens_by_its_name(tmp_path):
    pytest.importorskip("huggingface_hub")
    cached = tmp_path / "models--user--model"
    small().save_pretrained(cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    code = (
        "from tscl.encoders import Encoder\n"
        "print(type(Encoder.from_pretrained('user/model', local_files_only=False)).__name__)\n"
        "try: Encoder.from_pretrained('user/other', local_files_only=False)\n"
        "except FileNotFoundError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, missing = done.stdout.splitlines()
    assert found == "DilatedConvEncoder"
    assert missing.startswith("the hub gave no user/other (")
