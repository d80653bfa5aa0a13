from __future__ import annotations

import errno
import os
from multiprocessing import get_context

import pytest

from tscl.errors import DataError
from tscl.files import atomic_file, atomic_folder


def test_folder_appears_at_the_end(tmp_path):
    target = tmp_path / "deep" / "set"
    with atomic_folder(target) as temporary:
        (temporary / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert list(target.parent.iterdir()) == [target]


def test_file_appears_at_the_end_and_replaces(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    for text in ("1", "2"):
        with atomic_file(target) as temporary:
            temporary.write_text(text)
        assert target.read_text() == text
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_when_interrupted(tmp_path, error):
    def folder() -> None:
        with atomic_folder(tmp_path / "set") as temporary:
            (temporary / "a").write_text("1")
            raise error

    def file() -> None:
        with atomic_file(tmp_path / "b") as temporary:
            temporary.write_text("half")
            raise error

    (tmp_path / "b").write_text("old")
    for write in (folder, file):
        with pytest.raises(error):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_text() == "old"


@pytest.mark.parametrize("atomic", [atomic_file, atomic_folder])
def test_full_disk(tmp_path, atomic):
    message = r"out could not be written \(No space left on device\): free space"
    with pytest.raises(DataError, match=message), atomic(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("atomic", [atomic_file, atomic_folder])
def test_a_place_that_is_a_file(tmp_path, atomic):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written"), atomic(tmp_path / "file" / "out"):
        pytest.fail("the block must not start")


def test_who_finishes_first_wins(tmp_path):
    with atomic_folder(tmp_path / "set") as slow:
        (slow / "a").write_text("slow")
        with atomic_folder(tmp_path / "set") as fast:
            (fast / "a").write_text("fast")
    assert (tmp_path / "set" / "a").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def write_set(folder, number):
    with atomic_folder(folder / "set") as temporary:
        for name in "ab":
            (temporary / name).write_text(str(number))


def test_two_processes_write_the_same_folder(tmp_path):
    context = get_context("fork")
    workers = [context.Process(target=write_set, args=(tmp_path, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert (tmp_path / "set" / "a").read_text() == (tmp_path / "set" / "b").read_text()


def test_missing_input_inside_the_block_keeps_its_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="input"), atomic_folder(tmp_path / "set"):
        (tmp_path / "input").read_text()
    assert list(tmp_path.iterdir()) == []
