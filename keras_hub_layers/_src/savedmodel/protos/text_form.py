"""`saved_model.pbtxt`: the text form of a SavedModel."""


def to_bytes(text: str) -> bytes:
    """A SavedModel in the form of `saved_model.pb`. TensorFlow has to be imported for the names of fields and values.

    Raises:
        ValueError: The text is no SavedModel.
    """
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        return text_format.Parse(text, saved_model_pb2.SavedModel()).SerializeToString()
    except text_format.ParseError as err:
        raise ValueError(str(err)) from err
