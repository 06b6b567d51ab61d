"""Training: MolmoAct from labelled bags (adapters, whole networks), and the depth VQ-VAE."""
