import os

import pytest

from stages.files import write_whole


@pytest.mark.parametrize(
    ("content", "kept"), [("\u00e9\nb", "\u00e9\nb".encode()), (b"\x00\xff\r\n", b"\x00\xff\r\n"), ("", b"")]
)
def test_text_is_written_as_utf_8_and_bytes_as_they_are(tmp_path, content, kept):
    path = tmp_path / "new/folder/file.txt"
    write_whole(path, content)
    assert path.read_bytes() == kept
    write_whole(path, b"anew")
    assert path.read_bytes() == b"anew"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch, at):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, at, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_the_old_file_is_there_until_the_new_one_is_on_the_disk(tmp_path, monkeypatch):
    path, seen = tmp_path / "file.txt", []
    path.write_text("old")
    sync = os.fsync

    def watched(file):
        (part,) = set(tmp_path.iterdir()) - {path}
        seen.append((path.read_text(), part.read_text(), part.name.startswith(".")))
        sync(file)

    monkeypatch.setattr(os, "fsync", watched)
    write_whole(path, "new")
    assert seen == [("old", "new", True)]
    assert path.read_text() == "new"


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_whole(tmp_path / "file/inside.txt", "text")
    assert (tmp_path / "file").read_text() == ""
