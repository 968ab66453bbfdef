"""handle -> local directory: resolvers, download, archives, cache. Plain: no TensorFlow, no Keras."""
