"""A Git-LFS pointer in place of a file is told as what it is, wherever it came from."""

import pytest
from faults import FaultyServer
from hostile import FILES, files, tar_gz, write

from keras_hub_layers import resolve
from keras_hub_layers.errors import ArchiveError, ResolveError

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize("name", list(FILES))
def test_a_pointer_in_place_of_a_file_of_a_directory_is_named(tmp_path, name):
    write(tmp_path, {**FILES, name: POINTER})
    with pytest.raises(ResolveError, match=rf"(?s)Git-LFS pointers.*in place of {name}.*git lfs pull"):
        resolve(tmp_path)
    write(tmp_path, FILES)  # what the pull does
    assert resolve(tmp_path) == str(tmp_path)


def test_pointers_within_an_archive_are_named(tmp_path):
    (tmp_path / "m.tar.gz").write_bytes(tar_gz({**FILES, "saved_model.pb": POINTER}))
    with pytest.raises(ResolveError, match=r"(?s)in place of saved_model\.pb.*Where: .*m\.tar\.gz"):
        resolve(tmp_path / "m.tar.gz")


def test_a_pointer_in_place_of_an_archive_is_told(tmp_path):
    (tmp_path / "m.tar.gz").write_bytes(POINTER)
    with pytest.raises(ArchiveError, match=r"(?s)a Git-LFS pointer in place of the archive.*git lfs pull"):
        resolve(tmp_path / "m.tar.gz")
    with FaultyServer(POINTER) as server:
        with pytest.raises(ArchiveError, match=r"a Git-LFS pointer(?s:.*)github\.com/OWNER/REPO/raw/BRANCH/FILE"):
            resolve(f"{server.base}/ok.tar.gz")
        assert len(server.asked) == 1


def test_a_file_of_the_user_beside_a_model_may_be_a_pointer(tmp_path):
    write(tmp_path, {**FILES, "data/large.csv": POINTER})
    assert files(resolve(tmp_path))["data/large.csv"] == POINTER
