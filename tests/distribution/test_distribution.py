"""What `keras_hub_layers.distribution` says where there is nothing to distribute, and that its loop trains as `fit`."""

import keras
import producers
import pytest
import tensorflow as tf
import worker_training

from keras_hub_layers import distribution, errors, layers
from keras_hub_layers._src.compat import workers


def test_fit_is_enabled_within_a_scope_only():
    with pytest.raises(errors.DistributionError, match=r"with strategy.scope\(\)"):
        distribution.enable_fit()


def test_a_keras_that_has_changed_is_an_error_that_names_the_loop(monkeypatch):
    monkeypatch.delattr(keras.src.backend.tensorflow.trainer.TensorFlowTrainer, "_maybe_symbolic_build")
    with (
        tf.distribute.MirroredStrategy(["CPU:0"]).scope(),
        pytest.raises(errors.DistributionError, match=r"distribution.train\("),
    ):
        distribution.enable_fit()


def test_a_newer_keras_is_a_warning(monkeypatch):
    monkeypatch.setattr(keras, "__version__", "3.16.0")
    with (
        tf.distribute.MirroredStrategy(["CPU:0"]).scope(),
        pytest.warns(errors.HubWarning, match="was not tested with Keras 3.16.0"),
    ):
        distribution.enable_fit()


def test_the_loop_trains_as_fit_does_in_one_process(produced):
    scale = produced(producers.shared_loss)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        mirrored = worker_training.model_of(scale)
    history = distribution.train(
        mirrored, worker_training.dataset_of().repeat(), epochs=2, steps_per_epoch=2,
        validation_data=worker_training.dataset_of(),
    )  # fmt: skip
    model = worker_training.model_of(scale)
    dataset = worker_training.dataset_of()
    expected = model.fit(dataset, epochs=2, validation_data=dataset, shuffle=False, verbose=0)
    assert list(history.history) == list(expected.history)
    for name, values in expected.history.items():
        assert history.history[name] == pytest.approx(values, rel=1e-6)


def test_a_loop_without_batches_is_an_error(produced):
    model = worker_training.model_of(produced(producers.shared_loss))
    with pytest.raises(errors.DistributionError, match="no batch in epoch 1"):
        distribution.train(model, worker_training.dataset_of().take(0))
    with pytest.raises(errors.DistributionError, match="dataset is not a dataset"):
        distribution.train(model, [worker_training.X, worker_training.Y])


def test_an_error_of_a_server_stays_as_it_is_where_there_is_no_other_worker():
    with (
        pytest.raises(tf.errors.UnavailableError, match="a file server is gone"),
        workers.say_who_is_gone(tf.distribute.get_strategy()),
    ):
        raise tf.errors.UnavailableError(None, None, "a file server is gone")


def test_a_layer_computes_in_the_scope_of_a_strategy_with_one_device(produced):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        layer = layers.HubLayer(produced(producers.shared_loss), trainable=True)
        assert layer([[1.0]]).numpy() == [[5.0]]
        assert [float(loss) for loss in layer.losses] == pytest.approx([1.3, 1.5])


def test_a_distribution_of_keras_that_does_nothing_is_warned_of(produced):
    model = worker_training.model_of(produced(producers.shared_loss), trainable=False)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"]))
    try:
        with pytest.warns(errors.HubWarning, match=r"(?s)the model trains on one device.*MirroredStrategy"):
            model.fit(worker_training.dataset_of().take(1), shuffle=False, verbose=0)
    finally:
        keras.distribution.set_distribution(None)
    assert not isinstance(model.layers[-1].kernel.value, tf.distribute.DistributedValues), "no warning is needed"
