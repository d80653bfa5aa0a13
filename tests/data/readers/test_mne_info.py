import json

import mne
import numpy as np

from tscl.data import Channels
from tscl.data.readers import channels_of, info_of

NAMES = ["Fp1", "Fz", "Cz", "Pz", "Oz", "heart"]


def eeg_info():
    info = mne.create_info(NAMES, 250.0, ["eeg"] * 5 + ["ecg"])
    info.set_montage("standard_1020", on_missing="ignore")
    info["subject_info"] = {"his_id": "P17", "last_name": "Secret"}
    return info


def test_electrodes_come_back_where_they_were():
    channels = channels_of(eeg_info())
    assert (channels.names, channels.types, channels.unit) == (tuple(NAMES), ("eeg",) * 5 + ("ecg",), "uV")
    info = info_of(Channels.from_dict(json.loads(json.dumps(channels.to_dict(), allow_nan=False))))
    assert (info.ch_names, info["sfreq"], info.get_channel_types()) == (NAMES, 250.0, ["eeg"] * 5 + ["ecg"])
    expected = eeg_info().get_montage().get_positions()["ch_pos"]
    found = info.get_montage().get_positions()["ch_pos"]
    for name in NAMES[:5]:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-7)
    assert np.isnan(channels.positions[5]).all()
    assert "Secret" not in str(info["subject_info"])


def test_nothing_known_of_the_places():
    channels = channels_of(mne.create_info(["a", "b"], 100.0, "eeg"))
    assert (channels.positions, channels.coils) == (None, None)
    assert info_of(channels).ch_names == ["a", "b"]


def test_meg_sensors_come_back_in_head_coordinates(shared_data):
    raw = mne.io.read_raw_fif(shared_data / "mne_test" / "test_ctf_comp_raw.fif", verbose="error").pick("mag")
    channels = channels_of(raw.info)
    info = info_of(Channels.from_dict(channels.to_dict()))
    original = raw.info["chs"][5]
    in_head = mne.transforms.apply_trans(raw.info["dev_head_t"], original["loc"].reshape(4, 3)[:1])[0]
    turned = raw.info["dev_head_t"]["trans"][:3, :3] @ original["loc"][9:]
    np.testing.assert_allclose(info["chs"][5]["loc"][:3], in_head, atol=1e-6)
    np.testing.assert_allclose(info["chs"][5]["loc"][9:], turned, atol=1e-6)
    assert info["chs"][5]["coil_type"] == original["coil_type"] & 0xFFFF
    np.testing.assert_array_equal(info["dev_head_t"]["trans"], np.eye(4))
    assert (channels.unit, info.get_channel_types()) == ("fT", ["mag"] * len(raw.ch_names))
