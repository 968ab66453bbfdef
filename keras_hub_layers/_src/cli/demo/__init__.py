"""The main job from start to end, on real data: pretrain, export, load by URL, fine-tune, export again, reload."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["main"]


def main(directory: str | os.PathLike[str] = "keras_hub_layers_demo") -> int:
    """Run the demo.

    Args:
        directory: Where it works; made if absent. The fine-tuned SavedModel stays in `directory/export`, the one
            that it was made from in `directory/models/digits/1`.

    Returns:
        0 if everything that it claims was found to be true, else 1.

    Raises:
        errors.HubError: A step failed.
    """
    with _without_start_up_messages():
        from keras_hub_layers._src.cli.demo import story

        story.start_tensorflow()
    return story.run(os.path.expanduser(os.fspath(directory)))


@contextlib.contextmanager
def _without_start_up_messages() -> Iterator[None]:
    """Keep what TensorFlow 2.21 writes to stderr when it starts, whatever its log level, for the case of an error."""
    try:
        stderr = os.dup(2)
    except OSError:  # there is none
        yield
        return
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
