"""What a publisher did before you came: pretrain a model, and write it as a Reusable SavedModel.

Each function stands in for a model on a public hub, so that the notebooks run without a network.
"""

import os
import re
import tempfile
from collections import Counter

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf
import texts
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD

import keras_hub_layers as khl

tf.get_logger().setLevel("ERROR")  # nothing about each asset that is written, and each model that is traced

WINDOW = 4  # words on each side
RARE = 4  # words that occur less often are not known


def digits(wanted, seed=0):
    """Handwritten digits of scikit-learn in random order: float32 (n, 8, 8, 1) within 0 to 1, int32 labels from 0."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype("float32")
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(np.isin(labels, wanted)))
    return images[chosen], np.searchsorted(wanted, labels[chosen]).astype("int32")


def image_features(directory, wanted=range(7), epochs=5):
    """A small convolutional network, pretrained on some of the digits, published without its classifier.

    Images (None, 8, 8, 1) to features (None, 256), with batch normalization and regularization losses.
    """
    keras.utils.set_random_seed(0)
    images, labels = digits(list(wanted))
    x = inputs = keras.Input((8, 8, 1), name="image")
    for block, filters in enumerate((32, 64), start=1):
        for name in ("a", "b"):
            convolution = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                use_bias=False,
                kernel_regularizer=keras.regularizers.L2(1e-4),
                name=f"block{block}{name}_conv",
            )
            x = keras.layers.BatchNormalization(momentum=0.9, name=f"block{block}{name}_norm")(convolution(x))
            x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D()(x)
    encoder = keras.Model(inputs, keras.layers.Flatten(name="features")(x), name="encoder")
    model = keras.Sequential([encoder, keras.layers.Dense(len(wanted))])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    copies = [images, moved(images, 0)]
    model.fit(np.concatenate(copies), np.tile(labels, 2), batch_size=64, epochs=epochs, verbose=0)
    return khl.export(encoder, directory)


def moved(images, seed):
    """The same images, up to one pixel away."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = np.random.default_rng(seed).integers(0, 3, (len(images), 2))
    return np.stack([image[y : y + 8, x : x + 8] for image, (y, x) in zip(padded, offsets, strict=True)])


class TextEmbedding(tf.train.Checkpoint):
    """Strings (None,) to vectors (None, dimensions): the sum of the words' vectors over the root of their number.

    `__call__` and the lists of variables and losses make it a Reusable SavedModel, which others can fine-tune.
    """

    def __init__(self, vocabulary_file, vectors):
        super().__init__()
        entries = tf.lookup.TextFileInitializer(
            vocabulary_file,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticVocabularyTable(entries, num_oov_buckets=1)
        self.embeddings = tf.Variable(vectors, name="embeddings", dtype="float32")
        self.variables = self.trainable_variables = [self.embeddings]
        self.regularization_losses = []

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def __call__(self, sentences):
        cleaned = tf.strings.regex_replace(tf.strings.lower(sentences), "[^a-z]+", " ")
        rows = tf.strings.split(cleaned)
        count = tf.maximum(tf.cast(rows.row_lengths(), "float32"), 1.0)
        vectors = tf.ragged.map_flat_values(lambda words: tf.gather(self.embeddings, self.table.lookup(words)), rows)
        return tf.reduce_sum(vectors, axis=1) / tf.sqrt(count)[:, tf.newaxis]


def text_embedding(directory, dimensions=64, vocabulary_size=6000):
    """Vectors of words that keep similar company, learned from text without labels, published like NNLM on TF Hub."""
    documents = [re.findall("[a-z]+", text.lower()) for text in texts.unlabelled()]
    counts = Counter(word for words in documents for word in words)
    vocabulary = [word for word, count in counts.most_common(vocabulary_size) if count >= RARE]
    vectors = _vectors(documents, vocabulary, dimensions)
    shares = np.array([counts[word] for word in vocabulary]) / counts.total()
    weighted = vectors * (3e-3 / (3e-3 + shares))[:, np.newaxis]  # frequent words say little

    with tempfile.TemporaryDirectory() as work:
        vocabulary_file = os.path.join(work, "vocabulary.txt")
        with open(vocabulary_file, "w", encoding="utf-8") as file:
            file.write("\n".join(vocabulary))
        module = TextEmbedding(vocabulary_file, np.vstack([weighted, np.zeros((1, dimensions))]))
        tf.saved_model.save(module, str(directory))
    return directory


def _vectors(documents, vocabulary, dimensions):
    """Positive pointwise mutual information of neighbours, compressed by a singular value decomposition."""
    row_of = {word: row for row, word in enumerate(vocabulary)}
    gap = [-1] * WINDOW
    rows = np.concatenate([[row_of.get(word, -1) for word in words] + gap for words in documents])
    counts = scipy.sparse.csr_matrix((len(vocabulary), len(vocabulary)))
    for distance in range(1, WINDOW + 1):
        left, right = rows[:-distance], rows[distance:]
        known = (left >= 0) & (right >= 0)
        pairs = (left[known], right[known])
        counts += scipy.sparse.csr_matrix((np.ones(known.sum()), pairs), shape=counts.shape)
    counts = (counts + counts.T).tocoo()
    totals = np.asarray(counts.sum(axis=1)).ravel()
    smoothed = totals**0.75 / np.sum(totals**0.75)
    information = np.log(counts.data / (totals[counts.row] * smoothed[counts.col]))
    kept = information > 0
    matrix = scipy.sparse.csr_matrix((information[kept], (counts.row[kept], counts.col[kept])), shape=counts.shape)
    decomposition = TruncatedSVD(dimensions, n_iter=2, random_state=0)
    vectors = decomposition.fit_transform(matrix) / np.sqrt(decomposition.singular_values_)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
