"""Weight-only quantisation of the language blocks by torchao: fewer bytes a token, NOT exact.

Off unless asked for. benchmarks/action_error.py reports what it does to actions.
"""

from __future__ import annotations

import importlib
from typing import Literal, get_args

from torch import nn

from molmoact_ros.model.molmoact import MolmoAct

Quantization = Literal["fp8", "int8", "int4"]

_CONFIGS = {
    "fp8": "Float8WeightOnlyConfig",
    "int8": "Int8WeightOnlyConfig",
    "int4": "Int4WeightOnlyConfig",
}


class QuantizationError(RuntimeError):
    """The weights could not be quantised; the message says what to install or choose."""


def quantization(name: str) -> Quantization | None:
    """A kind by name; "" is none. Raises ValueError."""
    if not name:
        return None
    for kind in get_args(Quantization):
        if name == kind:
            return kind  # type: ignore[no-any-return]
    raise ValueError(f"quantize is {name!r}; use one of {', '.join(_CONFIGS)}, or leave it empty")


def quantize_weights(model: MolmoAct, kind: Quantization) -> None:
    """Quantise the matrices of the language blocks in place (vision, embeddings and the output
    matrix stay as they are). Raises QuantizationError.
    """
    if kind not in _CONFIGS:
        raise QuantizationError(f"quantisation {kind!r} is unknown; use {', '.join(_CONFIGS)}")
    try:
        library = importlib.import_module("torchao.quantization")
    except ImportError:
        raise QuantizationError(
            f"{kind} weights need torchao, which is not installed; pip install torchao (a version "
            "made for your torch), or leave quantisation off"
        ) from None
    config = getattr(library, _CONFIGS[kind], None)
    if config is None:
        raise QuantizationError(
            f"this torchao has no {_CONFIGS[kind]}; install a newer version or choose another kind"
        )

    def wanted(module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Linear)

    library.quantize_(model.model.transformer.blocks, config(), filter_fn=wanted)
