"""One line for a whole `fit`: a progress bar over its epochs, with the latest figures."""

import sys

import keras
from tqdm import tqdm


class Progress(keras.callbacks.Callback):
    """A tqdm bar over the epochs.

    Args:
        title: What stands before the bar.
    """

    def __init__(self, title=""):
        super().__init__()
        self.title = title

    def on_train_begin(self, logs=None):
        self.bar = tqdm(total=self.params["epochs"], desc=self.title, unit="epoch", file=sys.stdout, ncols=110)

    def on_epoch_end(self, epoch, logs=None):
        self.bar.set_postfix({name: f"{value:.3f}" for name, value in (logs or {}).items()}, refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()
