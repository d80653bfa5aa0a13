"""Sensors on the unit square."""

import logging

import numpy as np
import pytest

from tscl.data.recording import Channels
from tscl.data.speech.positions import flat_positions, with_montage
from tscl.errors import ConfigError, DataError

CENTRE, RADIUS = np.array([0.01, -0.02, 0.04]), 0.09


def on_sphere(polar, turn):
    """Place at ``polar`` degrees from the top, ``turn`` degrees from the right ear towards the nose."""
    a, b = np.deg2rad(polar), np.deg2rad(turn)
    return CENTRE + RADIUS * np.array([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)])


def channels(places, names=None):
    n = len(places)
    return Channels(names or tuple(f"c{i}" for i in range(n)), ("eeg",) * n, "uV", 100.0, np.array(places))


def test_distances_from_the_top_are_angles_on_the_head():
    places = [on_sphere(*where) for where in [(0, 0), (90, 0), (90, 180), (90, 90), (90, 270), (45, 0), (30, 90)]]
    flat = flat_positions(channels(places))
    assert flat.dtype == np.float32
    expected = [(0.5, 0.5), (1, 0.5), (0, 0.5), (0.5, 1), (0.5, 0), (0.75, 0.5), (0.5, 0.5 + 0.5 / 3)]
    np.testing.assert_allclose(flat, expected, atol=1e-6)


def test_left_and_right_mirror_each_other():
    rng = np.random.default_rng(0)
    right = np.array([on_sphere(*where) for where in rng.uniform((5, -80), (100, 80), (12, 2))])
    left = right * [-1, 1, 1] + [2 * CENTRE[0], 0, 0]
    flat = flat_positions(channels([*right, *left]))
    np.testing.assert_allclose(flat[:12, 0], 1 - flat[12:, 0], atol=1e-5)
    np.testing.assert_allclose(flat[:12, 1], flat[12:, 1], atol=1e-5)
    assert (flat.min(axis=0).tolist(), flat.max(axis=0).tolist()) == ([0, 0], [1, 1])


def test_moving_and_scaling_the_head_changes_nothing():
    places = np.array([on_sphere(*where) for where in np.random.default_rng(1).uniform((5, 0), (110, 360), (20, 2))])
    moved = 1.2 * places + [0.3, -0.1, 0.2]
    np.testing.assert_allclose(flat_positions(channels(moved)), flat_positions(channels(places)), atol=1e-5)


def test_unknown_positions_stay_unknown_and_do_not_move_the_others():
    places = [on_sphere(90, turn) for turn in range(0, 360, 60)] + [on_sphere(0, 0)]
    flat = flat_positions(channels([*places, [np.nan, 0, 0]]))
    np.testing.assert_array_equal(flat[:-1], flat_positions(channels(places)))
    assert np.isnan(flat[-1]).all()


def test_a_planar_layout_keeps_its_shape():
    grid = np.array([(x, y, 0.0) for x in (0, 0.05, 0.1) for y in (0, 0.1, 0.2)])
    flat = flat_positions(channels(grid))
    np.testing.assert_allclose(flat, grid[:, :2] / [0.1, 0.2], atol=2e-3)
    line = flat_positions(channels([(x, 0.02, 0.01) for x in (0.0, 0.05, 0.1)]))
    np.testing.assert_allclose(line, [(0, 0.5), (0.5, 0.5), (1, 0.5)], atol=1e-6)
    np.testing.assert_array_equal(flat_positions(channels([(0.03, 0.02, 0.01)])), [[0.5, 0.5]])


@pytest.mark.parametrize("places", [None, np.full((2, 3), np.nan)])
def test_no_position_at_all_is_refused(places):
    unknown = Channels(("a", "b"), ("eeg", "eeg"), "uV", 100.0, places)
    with pytest.raises(DataError, match=r"x\.fif has no sensor positions: name a montage"):
        flat_positions(unknown, "x.fif")
    with pytest.raises(DataError, match="the recording has no sensor positions"):
        flat_positions(unknown)


def test_sensors_at_one_place_are_named(caplog):
    places = [on_sphere(90, turn) for turn in (0, 90, 180, 270)]
    with caplog.at_level(logging.WARNING):
        flat_positions(channels(places), "x.fif")
        assert caplog.text == ""
        flat_positions(channels([[np.nan] * 3, *places, places[1]], ("q", "r", "s", "t", "u", "v")), "x.fif")
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("x.fif: 1 pairs of sensors sit at one place (s and v)")


def test_a_montage_gives_positions_by_name():
    import mne

    named = mne.channels.make_standard_montage("standard_1020").get_positions()["ch_pos"]
    plain = Channels(("cz", "FP1", "other"), ("eeg",) * 3, "uV", 100.0)
    placed = with_montage(plain, "standard_1020")
    np.testing.assert_array_equal(placed.positions[:2], [named["Cz"], named["Fp1"]])
    assert np.isnan(placed.positions[2]).all()
    assert placed.names == plain.names
    with pytest.raises(ConfigError, match=r"no montage 'nothing': choose one of .*biosemi32"):
        with_montage(plain, "nothing")


def test_the_nose_is_up_and_the_left_ear_left():
    names = ("Cz", "Fpz", "Oz", "T7", "T8", "F3", "F4")
    channels = with_montage(Channels(names, ("eeg",) * 7, "uV", 1.0), "easycap-M1")
    flat = dict(zip(names, flat_positions(channels), strict=True))
    assert flat["Fpz"][1] == 1
    assert flat["Oz"][1] == 0
    assert flat["T7"][0] == 0
    assert flat["T8"][0] == 1
    assert np.allclose(flat["Cz"], 0.5, atol=0.1)
    assert flat["F3"][0] < 0.5 < flat["F4"][0]
