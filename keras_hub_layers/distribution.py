"""Training on several devices and several workers: what Keras 3 lacks for the strategies of `tf.distribute`."""

from keras_hub_layers._src.distribution.check_tf_config import TFConfig, check_tf_config
from keras_hub_layers._src.distribution.device_stage import device_stage
from keras_hub_layers._src.distribution.enable_fit import enable_fit
from keras_hub_layers._src.distribution.host_stage import HostStage, host_stage
from keras_hub_layers._src.distribution.train import train

__all__ = ["HostStage", "TFConfig", "check_tf_config", "device_stage", "enable_fit", "host_stage", "train"]
