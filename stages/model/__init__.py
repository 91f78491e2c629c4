"""The network, the arithmetic and the weights files: what train, evaluate and the tools share."""
