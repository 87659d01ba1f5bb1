"""The network with its weights kept in 16 bits: half the file, the same work.

ONNX Runtime has no 16-bit convolutions for x86 processors. It turns the weights into fp32 when
it loads the graph, so that inference takes the time and the memory of the fp32 graph.
"""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from doctor_derma.export.graph_parts import map_convolutions


def halve_weights(network: ModelProto) -> ModelProto:
    """Return a network whose convolutions of maps read their weights from fp16.

    Parameters
    ----------
    network : of `graph_parts.cut_network`
    """
    halved = ModelProto()
    halved.CopyFrom(network)
    names = {node.input[1] for node in map_convolutions(network)}
    casts = []
    for weight in halved.graph.initializer:
        if weight.name in names:
            name = weight.name
            rounded = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(rounded, f"{name}.fp16"))
            casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    return halved
