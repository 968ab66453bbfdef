"""Each private name of Keras and TensorFlow still exists, and is still needed."""

import ast
import copy
import gc
import inspect
import re
import sys
from pathlib import Path

import keras
import numpy as np
import producers
import pytest
import tensorflow as tf
from tensorflow.python.ops import gen_resource_variable_ops
from tensorflow.python.util import deprecation

from keras_hub_layers import layers
from keras_hub_layers._src.compat import (
    adopted_variables,
    fit,
    loading,
    models,
    optimizers,
    saving,
    shared_functions,
    tensorflow,
    workers,
)
from keras_hub_layers._src.compat import layers as layers_module


def test_safe_mode_is_seen_during_a_load_and_there_is_no_public_way():
    assert saving.in_safe_mode() is False
    with keras.src.saving.serialization_lib.SafeModeScope(True):
        assert saving.in_safe_mode() is True
    assert not hasattr(keras.saving, "in_safe_mode")
    assert not hasattr(keras.config, "in_safe_mode")


def test_the_writing_of_a_file_is_seen_and_get_config_is_not_told_of_it(tmp_path):
    seen = []

    @keras.saving.register_keras_serializable("tests")
    class Watcher(keras.layers.Layer):
        def get_config(self):
            seen.append(saving.is_saving_a_file())
            return super().get_config()

    model = keras.Sequential([keras.Input((1,)), Watcher()])
    model.get_config()
    keras.models.clone_model(model)
    assert set(seen) == {False}
    seen.clear()
    model.save(tmp_path / "model.keras")
    assert set(seen) == {True}
    assert list(inspect.signature(keras.layers.Layer.get_config).parameters) == ["self"]


def test_keras_still_reads_every_property_of_a_layer_when_weights_are_saved(tmp_path):
    seen = []

    class Layer(keras.layers.Layer):
        @property
        def takes_long(self):
            seen.append(saving.is_walking_attributes())

    model = keras.Sequential([keras.Input((1,)), Layer()])
    _ = model.layers[-1].takes_long
    assert seen == [False]
    model.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    assert len(seen) > 1
    assert set(seen[1:]) == {True}


def test_keras_still_puts_the_arguments_behind_an_error_that_does_not_ask_to_be_left_alone():
    class Left(ValueError):
        pass

    class Layer(keras.layers.Layer):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def call(self, inputs):
            raise self.error("what happened")

    saving.pass_on(Left)
    with pytest.raises(Left, match=r"^what happened$"):
        Layer(Left)(np.ones(3))
    with pytest.raises(ValueError, match="Arguments received by"):
        Layer(ValueError)(np.ones(3))


def test_keras_still_converts_inputs_of_a_layer_that_does_not_ask_for_them_as_they_are():
    seen = []

    class Layer(keras.layers.Layer):
        def __init__(self, as_they_are):
            super().__init__(autocast=False)
            if as_they_are:
                layers_module.take_inputs_as_they_are(self)

        def call(self, inputs):
            seen.append(inputs)
            return tf.zeros(())

    Layer(as_they_are=True)(["text"])
    assert seen == [["text"]]
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=r".+"):
        Layer(as_they_are=False)(["text"])


def test_a_variable_is_adopted_and_older_versions_need_help(produced):
    variable = tf.Variable([2.0], name="v")
    weight = adopted_variables.adopt(variable, trainable=True, name="v")
    assert weight.value is variable
    weight.assign([5.0])
    assert float(variable[0]) == 5.0
    shares = keras.Variable(variable, dtype="float32", autocast=False, name="v").value is variable
    newer = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 15)
    assert shares or not newer, "Keras copies again: compat.adopted_variables.adopt has to be looked at"


def test_an_attribute_still_puts_a_frozen_variable_among_the_trainable_ones():
    class Layer(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    def trainable_of_model(layer):
        return len(keras.Sequential([keras.Input((1,)), layer]).trainable_variables)

    variable = adopted_variables.adopt(tf.Variable(1.0), trainable=True, name="v")
    held, tracked = Layer(trainable=False), Layer(trainable=False)
    held.variables_of_mine = [variable]
    assert trainable_of_model(held) == 1
    layers_module.track(tracked, variable)
    assert trainable_of_model(tracked) == 0


def test_models_still_ask_layers_for_their_own_losses_and_take_no_callables():
    class Layer(layers_module.OwnLosses):
        def published_losses(self):
            return [tf.constant(1.0), tf.constant(2.0)]

    model = keras.Sequential([keras.Input((1,)), Layer()])
    np.testing.assert_allclose(model.losses, [1.0, 2.0])
    with pytest.raises(ValueError, match="add_loss"):
        keras.layers.Layer().add_loss(lambda: tf.constant(1.0))


def test_a_tape_watches_what_is_trained_and_the_flags_are_as_before(produced):
    layer = layers.HubLayer(produced(producers.flags_against_lists))
    loaded = layer.resolved_object
    variables = {"a": loaded.a, "b": loaded.b, "c": loaded.c}
    with tf.GradientTape() as tape:
        loaded(tf.constant([[1.0]]))
    assert {v.name for v in tape.watched_variables()} == {"a:0", "c:0"}  # still what the flags say
    with (
        tf.GradientTape() as tape,
        tensorflow.watch_variables(variables.values(), lambda variable: variable is loaded.b),
    ):
        loaded(tf.constant([[1.0]]))
    assert {v.name for v in tape.watched_variables()} == {"b:0"}
    assert {name: v.trainable for name, v in variables.items()} == {"a": True, "b": False, "c": True}


# -- optimizers --------------------------------------------------------------------------------------------------------


def test_trained_by_names_the_variables_of_an_optimizer_also_of_one_inside_another():
    variables = [keras.Variable(1.0, name="a"), keras.Variable(2.0, name="b")]
    adam = keras.optimizers.Adam()
    assert optimizers.built_variables(adam) == []
    adam.build(variables)
    wrapper = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    wrapper.apply([tf.constant(0.0), tf.constant(0.0)], variables)
    for optimizer in (adam, wrapper):
        assert [id(variable) for variable in optimizers.built_variables(optimizer)] == [
            id(variable) for variable in variables
        ]


def test_take_state_gives_an_optimizer_the_slots_of_another():
    a, b = keras.Variable(1.0, name="a"), keras.Variable(2.0, name="b")
    one, other = keras.optimizers.SGD(1.0), keras.optimizers.SGD(0.5)
    one.build([a])
    other.build([a, b])
    with pytest.raises(ValueError, match="Unknown variable"):
        one.apply([tf.constant(1.0)], [b])
    optimizers.take_state(one, other)
    one.apply([tf.constant(1.0)], [b])
    assert float(b.numpy()) == 1.5


def test_scale_updates_multiplies_step_and_weight_decay_of_each_variable():
    variables = [keras.Variable(1.0, name="a"), keras.Variable(1.0, name="b")]
    optimizer = keras.optimizers.SGD(0.5, weight_decay=0.1)
    optimizer.build(variables)
    optimizers.scale_updates(optimizer, lambda index: (1.0, 0.5)[index])
    optimizer.apply([tf.constant(1.0), tf.constant(1.0)], variables)
    # Decay first: 1 - 0.5·0.1 and 1 - 0.25·0.1; then the step: 0.5 and 0.25.
    assert [float(variable.numpy()) for variable in variables] == pytest.approx([0.45, 0.725])
    assert optimizer.weight_decay == 0.1


def train_graphs():
    gc.collect()
    return sum(
        isinstance(item, tf.Graph) and getattr(item, "name", "") == "one_step_on_data" for item in gc.get_objects()
    )


@pytest.mark.parametrize("mended", [False, True])
def test_without_the_sum_over_devices_a_trained_model_leaves_no_graph_behind(mended):
    before = train_graphs()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    if mended:
        optimizers.sum_no_gradients(model.optimizer)
    model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
    del model
    assert train_graphs() - before == (0 if mended else 1)


def test_a_callback_still_keeps_its_model_where_copies_must_leave_it_out():
    callback, model = keras.callbacks.Callback(), keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    callback.set_model(model)
    assert callback.__dict__[fit.CALLBACK_MODEL] is model
    assert copy.deepcopy(callback).model is not None  # Keras' own copies take the model along


@pytest.mark.parametrize(("save_freq", "epoch"), [("epoch", 1), (1, 1)])
def test_a_backup_tells_the_epoch_that_it_was_written_in(tmp_path, save_freq, epoch):
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=save_freq, delete_checkpoint=False)
    assert fit.backup_of(backup) is None
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=2, batch_size=1, verbose=0, callbacks=[backup])
    assert fit.backup_of(backup) == epoch


def test_nothing_public_turns_a_function_into_a_graph():
    concrete = tf.function(lambda x: tf.split(x, 2)[1]).get_concrete_function(tf.TensorSpec((2,)))
    caller = tf.function(lambda x: concrete(x)).get_concrete_function(tf.TensorSpec((2,)))
    graph_def = caller.graph.as_graph_def()
    name = next(node.attr["f"].func.name for node in graph_def.node if node.op == "PartitionedCall")
    nodes, names = tensorflow.converter_of_functions(graph_def)(name)
    assert names["split:output:1"] == "split:1"
    assert "split:1" in [text for node in nodes for text in node.input]
    assert not [public for public in dir(tf.graph_util) if "function" in public]


def test_nothing_public_has_a_fit_start_at_a_later_epoch(tmp_path):
    seen = []

    class Late(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            fit.start_at(self.model, 2)
            seen.append({"initial_epoch", "epoch"} & set(self.params))

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=3, verbose=0, callbacks=[Late()]).epoch == [2]
    assert seen == [set()]
    assert model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=3, verbose=0).epoch == [2]  # it stays set


def test_a_step_knows_its_model_and_keras_still_gives_no_warning_of_a_stale_one():
    seen = []

    steps = []

    class Seeing(keras.layers.Layer):
        def call(self, inputs):
            seen.append(fit.model_in_training())
            steps.append(fit.is_kerass_own_step())
            return inputs

    dense = keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((1,)), Seeing(), dense, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = np.ones((2, 1)), np.ones((2, 1))
    model.fit(*data, verbose=0)
    assert model in seen
    assert any(steps)
    model.predict(data[0], verbose=0)
    assert seen[-1] is None
    assert not steps[-1]
    dense.trainable = False
    model.fit(*data, verbose=0)  # if Keras warns here, `guards` need not


def test_a_symbolic_call_does_not_say_whether_it_builds_for_data_and_the_stack_does():
    seen = []

    class Layer(keras.layers.Layer):
        def compute_output_spec(self, inputs):
            seen.append((type(inputs).__name__, fit.is_in_loop()))
            return keras.KerasTensor(inputs.shape, inputs.dtype)

        def call(self, inputs):
            return inputs

    Layer()(keras.Input((2,)))
    model = keras.Sequential([Layer()])
    model.compile("sgd", "mse")
    model.predict(np.ones((2, 2)), verbose=0)
    assert seen == [("KerasTensor", False), ("KerasTensor", True)]


def test_an_optimizer_keeps_its_slots_in_lists_with_one_for_each_variable():
    variables = [keras.Variable(np.ones((2, 2)), name=name) for name in ("a", "b", "c")]
    optimizer = keras.optimizers.Adafactor(0.1)
    optimizer.build(variables)
    found = {name: (slots, trained) for name, slots, trained in optimizers.slots_of(optimizer)}
    assert {"_r", "_c", "_v"} <= set(found)
    assert {id(slot) for slots, _ in found.values() for slot in slots} <= {id(v) for v in optimizer.variables}
    assert all([id(v) for v in trained] == [id(v) for v in variables] for _, trained in found.values())


def test_what_is_excluded_from_weight_decay_is_not_in_the_config_of_an_optimizer():
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    variable = keras.Variable(1.0, name="bias")
    copy = type(optimizer).from_config(optimizer.get_config())
    copy.build([variable])
    assert copy._use_weight_decay(variable)  # else `carry_over` is not needed any more
    copy = type(optimizer).from_config(optimizer.get_config())
    copy.build([variable])
    optimizers.carry_over(optimizer, copy)
    assert not copy._use_weight_decay(variable)


def test_keras_optimizers_still_do_not_sum_the_rows_of_a_gradient():
    layer = keras.layers.Embedding(4, 2, embeddings_initializer="zeros")
    model = keras.Sequential([keras.Input((None,), dtype="int32"), layer])
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.fit(np.zeros((1, 64), "int32"), np.ones((1, 64, 2)), verbose=0)
    moved = float(layer.get_weights()[0][0, 0]) / 1e-3
    assert round(moved) == 8, f"{moved:.2f} learning rates: adopted_variables need not sum rows any more if it is 1"


def test_a_tape_still_asks_the_handle_of_a_variable_for_what_becomes_of_its_gradient():
    plain = keras.Variable(np.ones((3, 1), "float32"))
    adopted = adopted_variables.adopt(tf.Variable(tf.ones((3, 1))), trainable=True, name="v")
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(tf.gather(v.value, [2, 2])) for v in (plain, adopted)])
    duplicates, unique = tape.gradient(loss, [plain, adopted])
    assert duplicates.indices.numpy().tolist() == [2, 2]
    assert unique.indices.numpy().tolist() == [2]
    assert unique.values.numpy().tolist() == [[2.0]]
    bases = [base for base in keras.optimizers.Optimizer.__mro__ if "_all_reduce_sum_gradients" in vars(base)]
    assert len(bases) == 1


def test_a_nadam_inside_a_loss_scale_optimizer_still_hides_a_variable():
    variable = keras.Variable(1.0, name="v")
    optimizers_of_keras = keras.optimizers.Nadam(), keras.optimizers.Nadam()
    alone, inside = optimizers_of_keras
    alone.build([variable])
    keras.optimizers.LossScaleOptimizer(inside).build([variable])
    listed = [any(item is nadam._u_product for item in nadam.variables) for nadam in (alone, inside)]
    assert listed == [True, False]  # else `carry_over` need not look for variables
    inside._u_product.assign(0.25)
    copy = keras.optimizers.Nadam()
    keras.optimizers.LossScaleOptimizer(copy).build([variable])
    optimizers.carry_over(inside, copy)
    assert float(copy._u_product.numpy()) == 0.25


def test_sequential_still_makes_a_float_input_of_the_shape_that_a_layer_was_given():
    def inputs_of(layer):
        model = keras.Sequential([layer])
        return [tensor.dtype for tensor in model.inputs] if model.built else []

    with pytest.warns(UserWarning, match="input_shape"):
        layer = keras.layers.Dense(1, input_shape=(1,))
    assert inputs_of(layer) == ["float32"]
    layers_module.forget_input_shape(layer)
    assert inputs_of(layer) == []


def test_a_sequential_model_without_an_input_asks_its_first_layer_for_the_dtype():
    class Int(layers_module.OwnInputDtype):
        def _own_input_dtype(self):
            return "int32"

        def call(self, inputs):
            return inputs

    class Plain(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    models_of = {layer: keras.Sequential([layer()]) for layer in (Int, Plain)}
    for model in models_of.values():
        model.build((None, 2))
    assert models_of[Int].inputs[0].dtype == "int32"
    assert models_of[Plain].inputs[0].dtype == "float32", "OwnInputDtype may have no effect"


def test_the_strategy_of_a_scope_and_of_a_model_are_known():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    assert models.strategy_scope(model) is not None
    assert tensorflow.current_strategy() is model.distribute_strategy


def test_the_version_is_that_of_the_installed_tensorflow(monkeypatch):
    tensorflow.installed_version.cache_clear()
    monkeypatch.delitem(sys.modules, "tensorflow")
    assert tensorflow.installed_version() == tf.__version__


def test_what_workers_tell_comes_back_in_their_order_and_a_strategy_alone_has_none():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert workers.workers_of(strategy) is None
    alone = workers.Workers(strategy, index=0, count=1)
    assert alone.is_chief
    assert alone.gather(b"told") == [b"told"]
    with strategy.scope():
        mean = tf.Variable(
            2.0, synchronization=tf.VariableSynchronization.ON_READ, aggregation=tf.VariableAggregation.MEAN
        )
    with alone.read_once([mean]):
        assert strategy.reduce is not type(strategy).reduce
        assert float(mean.numpy()) == 2.0
    assert "reduce" not in vars(strategy)  # the strategy's own again: still there, and still what a read calls


def test_tensorflow_still_loads_functions_anew_for_each_object_and_these_are_loaded_once(produced):
    path = produced(producers.half_plus_one)
    objects = [tf.saved_model.load(path) for _ in range(2)]
    assert len({obj.__call__.concrete_functions[0].name for obj in objects}) == 2  # else `bind` is not needed
    shared, x = {}, tf.constant([[4.0]])

    def load(load_all, library, object_graph):
        copy = type(library).FromString(library.SerializeToString())
        shared.update(shared or shared_functions.load_functions(copy, object_graph))
        return {name: shared_functions.bind(function) for name, function in shared.items()}

    with shared_functions.load_functions_by(load):
        first, second = (tf.saved_model.load(path) for _ in range(2))
    second.variables[0].assign([[2.0]])
    assert [float(obj(x)[0, 0]) for obj in (first, second)] == [3.0, 9.0]
    inner = [obj.__call__.concrete_functions[0] for obj in (first, second)]
    assert inner[0].graph.get_operations()[0] is inner[1].graph.get_operations()[0]
    assert [fn.variables[0] is obj.variables[0] for fn, obj in zip(inner, (first, second), strict=True)] == [True, True]
    assert tf.saved_model.load(path).__call__.concrete_functions[0].name not in {fn.name for fn in inner}


def test_the_definition_of_an_op_tells_its_inputs_and_defaults_and_whether_it_has_a_state():
    known = tensorflow.op_definition("MatMul")
    assert [argument.name for argument in known.input_arg] == ["a", "b"]
    assert [each.default_value.b for each in known.attr if each.name == "transpose_a"] == [False]
    assert tensorflow.op_definition("NoSuchOp") is None
    assert [tensorflow.is_stateful(op) for op in ("MatMul", "HashTableV2", "NoSuchOp")] == [False, True, True]
    assert not hasattr(tf, "op_def_registry")
    assert not any("op_def" in name.lower() for name in dir(tf.raw_ops))


def test_a_variable_still_has_its_name_as_an_attribute_of_its_op_and_loaded_ones_share_one(produced, monkeypatch):
    path, made, make = produced(producers.half_plus_one), [], gen_resource_variable_ops.var_handle_op
    spy = lambda **kwargs: made.append(kwargs["debug_name"]) or make(**kwargs)  # noqa: E731
    monkeypatch.setattr(gen_resource_variable_ops, "var_handle_op", spy)
    plain = tf.saved_model.load(path)
    assert len(set(made)) == len(made) > 1  # else `one_kernel_for_all` is not needed
    made.clear()
    with loading.one_kernel_for_all(), tf.name_scope("scope"):
        quick = tf.saved_model.load(path)
    assert len(set(made)) == 1 < len(made)
    with tf.name_scope("scope"):
        scoped = tf.saved_model.load(path)
    assert [v.name for v in quick.variables] == [v.name for v in scoped.variables]
    assert [v.name.removeprefix("scope/") for v in quick.variables] == [v.name for v in plain.variables]
    assert [v.handle._name for v in quick.variables] == [v.name for v in quick.variables]
    np.testing.assert_array_equal(quick(tf.constant([[4.0]])), [[3.0]])


def test_tensorflow_still_looks_at_the_signatures_of_its_own_functions_and_not_in_this_block(zoo, monkeypatch):
    monkeypatch.setattr(deprecation, "_PRINT_DEPRECATION_WARNINGS", True)  # whatever an error in it has left
    seen, look = [], deprecation.tf_inspect.getcallargs
    monkeypatch.setattr(deprecation.tf_inspect, "getcallargs", lambda *args, **kw: seen.append(1) or look(*args, **kw))
    path = str(zoo / "serving_half_plus_two_v1")
    tf.saved_model.load(path)
    assert len(seen) > 50  # else `without_checks_of_arguments` is not needed
    seen.clear()
    with loading.without_checks_of_arguments():
        tf.saved_model.load(path)
    assert not seen
    with pytest.raises(OSError, match="does not exist"), loading.without_checks_of_arguments():
        tf.saved_model.load(f"{path}/nothing")
    assert deprecation._PRINT_DEPRECATION_WARNINGS


@pytest.mark.parametrize("before", [False, True])
def test_functions_are_optimized_as_before_when_the_last_of_several_loads_has_ended(before):
    def is_off():
        return tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})
    first, second = loading.without_optimizing(), loading.without_optimizing()
    seen = [is_off()]
    for step in (first.__enter__, second.__enter__):
        step()
        seen.append(is_off())
    for block in (first, second):  # as in two threads, not one in the other
        block.__exit__(None, None, None)
        seen.append(is_off())
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    assert seen == [before, True, True, True, before]


def test_arguments_are_checked_again_when_the_last_of_several_loads_has_ended(monkeypatch):
    monkeypatch.setattr(deprecation, "_PRINT_DEPRECATION_WARNINGS", True)
    first, second = loading.without_checks_of_arguments(), loading.without_checks_of_arguments()
    seen = []
    for step in (
        first.__enter__,
        second.__enter__,
        *(lambda b=b: b.__exit__(None, None, None) for b in (first, second)),
    ):
        step()
        seen.append(deprecation._PRINT_DEPRECATION_WARNINGS)
    assert seen == [False, False, False, True]


def test_a_method_of_a_layer_is_still_rewritten_unless_it_is_marked():
    seen = []

    def method(self, inputs):
        seen.append(inspect.currentframe().f_code.co_filename)
        return inputs

    plain = type("Plain", (keras.layers.Layer,), {"__call__": method})()
    marked = type("Marked", (keras.layers.Layer,), {"__call__": layers_module.as_it_is_written(method)})()
    for layer in (plain, marked):
        tf.function(lambda x, layer=layer: layer(x))(tf.constant(1.0))
    assert [Path(name).name == Path(__file__).name for name in seen] == [False, True]  # else it is not needed


def test_each_function_of_compat_says_its_versions_and_is_named_in_a_test():
    folder = Path(fit.__file__).parent
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    for path in folder.glob("*.py"):
        nodes = ast.parse(path.read_text("utf-8")).body
        for node in [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))]:
            is_private = [item for item in ast.walk(node) if isinstance(item, ast.Attribute) and item.attr[0] == "_"]
            text = ast.get_docstring(node) or ""
            if is_private and not node.name.startswith("_"):
                assert re.search(r"(Keras|TensorFlow|KerasTuner) \d+\.\d+", text), f"{path.name}: {node.name}"
                assert re.search(rf"\b{node.name}\b", tests), f"{path.name}: {node.name}"


def test_a_custom_gradient_is_known_by_name_and_there_is_no_public_way():
    @tf.custom_gradient
    def tripled(x):
        return x, lambda upstream: 3 * upstream

    graph = tf.function(tripled).get_concrete_function(tf.TensorSpec(())).graph.as_graph_def()
    name = next(node.attr["_gradient_op_type"].s.decode() for node in graph.node if node.op == "IdentityN")
    first = tensorflow.custom_gradient_function(name)(None, tf.constant(2.0), tf.constant(0.0))
    assert first[0] is None
    assert float(first[1]) == 6.0
    assert not any("gradient" in public and "lookup" in public for public in dir(tf))


def test_a_function_that_xla_compiles_is_known_and_there_is_no_public_way():
    functions = {jit: tf.function(lambda x: x, jit_compile=jit) for jit in (None, False, True)}
    assert [tensorflow.is_jit_compiled(function) for function in functions.values()] == [False, False, True]
    assert not tensorflow.is_jit_compiled(lambda x: x)
    assert not [name for name in dir(functions[True]) if "jit" in name and not name.startswith("_")]
