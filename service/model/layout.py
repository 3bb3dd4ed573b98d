"""Names of the files in a model repo."""

CONFIG = "config.json"
FEATURE_EXTRACTOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
"""What transformers 5 writes for a processor: the feature extractor is a part of it."""

SERVING = "serving.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

GRAPH_FOLDER = "openvino"

GRAPH = f"{GRAPH_FOLDER}/model.xml"
"""The OpenVINO graph in float32. Its weights lie beside it in a `.bin` file of the same name."""

INT8_GRAPH = f"{GRAPH_FOLDER}/int8.xml"
"""The graph in 8 bits. Training writes it only when it answers as the float32 graph does."""


def graph_weights(graph: str) -> str:
    """The path of the weights that belong to a graph's path."""
    return graph.removesuffix(".xml") + ".bin"
