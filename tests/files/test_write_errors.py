"""What could not be written is explained by its cause, and the cure fits the cause."""

import errno
import os

import pytest
import tensorflow as tf

from keras_hub_layers import errors
from keras_hub_layers._src.files.write_errors import write_error


def os_error(number):
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (os_error(errno.ENOSPC), "free space"),
        (os_error(errno.EDQUOT), "free space"),
        (tf.errors.ResourceExhaustedError(None, None, "x; No space left on device"), "free space"),
        (os_error(errno.EROFS), "on another file system"),
        (tf.errors.UnknownError(None, None, "a/b; Read-only file system"), "on another file system"),
        (os_error(errno.EACCES), "a directory of your own"),
        (tf.errors.PermissionDeniedError(None, None, "a/b; Permission denied"), "a directory of your own"),
        (os_error(errno.EBUSY), "a directory below it"),
        (tf.errors.UnavailableError(None, None, "failed to connect to all addresses"), "a worker or its network"),
        (tf.errors.AbortedError(None, None, "Connection reset by peer"), "a worker or its network"),
        (os_error(errno.ENAMETOOLONG), "choose another place"),
    ],
)
def test_the_cure_fits_the_cause(error, cure):
    made = write_error(error, "/data/encoder")
    assert isinstance(made, errors.ExportWriteError)
    assert made.fix is not None
    assert cure in made.fix
    assert ("free space" in made.fix) == (cure == "free space")
    assert str(error) in str(made)
    assert "khl.export(target, '" in made.fix


def test_a_scheme_that_tensorflow_does_not_know_is_told_by_its_own_error(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(tf.errors.UnimplementedError, match="File system scheme") as caught:
        tf.io.gfile.copy(str(tmp_path / "file"), "dbfs://models/encoder/file")
    made = write_error(caught.value, "dbfs://models/encoder")
    assert "khl.export(target, '/dbfs/models/encoder')" in str(made.fix)
    assert "khl.export(target, 'encoder')" in str(write_error(caught.value, "s3://bucket/encoder").fix)
