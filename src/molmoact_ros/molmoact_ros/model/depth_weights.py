"""Files of the depth VQ-VAE: reading the released .pt, and our own half-precision safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from molmoact_ros.model.depth_vqvae import DepthVqVae, VqVaeShape

_TRAINING_ONLY = ("_vq_vae._ema_cluster_size", "_vq_vae._ema_w")


def load_depth_vqvae(path: Path) -> DepthVqVae:
    """A network in float32, evaluation mode, from ``*.safetensors`` or the released ``*.pt``.

    The released file is {"weights": state}, keys perhaps starting with "module."; it is read
    with weights_only, so it cannot run code. Raises FileNotFoundError, or ValueError naming
    the tensors that are missing, unknown or of another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"No depth VQ-VAE weights at {path}; reinstall the package, give another file, "
            "or train one with molmoact vqvae train."
        )
    state = load_file(path) if path.suffix == ".safetensors" else _released_state(path)
    return network_from_state(state)


def network_from_state(state: Mapping[str, Tensor]) -> DepthVqVae:
    """A network with exactly the tensors of ``state`` (training buffers may be missing).

    Raises ValueError as ``load_depth_vqvae`` does.
    """
    network = DepthVqVae(VqVaeShape.from_state(state))
    expected = network.state_dict()
    missing = [k for k in expected if k not in state and k not in _TRAINING_ONLY]
    unknown = [k for k in state if k not in expected]
    wrong = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    broken = [k for k, v in state.items() if not bool(torch.isfinite(v).all())]
    for problem, names in (
        ("missing", missing),
        ("unknown", unknown),
        ("of another shape", wrong),
        ("not finite", broken),
    ):
        if names:
            raise ValueError(
                f"Depth VQ-VAE weights: {len(names)} tensors {problem}: {', '.join(names[:5])}. "
                "Use vae-final.pt or a file made by molmoact vqvae train."
            )
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    return network.eval()


def converted(path: Path) -> Path:
    """The safetensors file beside a released ``.pt``, written now unless it was already.

    Every number is kept (float32); the name holds a digest of the .pt, so that another download
    is converted again. Raises as ``load_depth_vqvae``, OSError where the folder is read-only.
    """
    if not path.is_file():
        load_depth_vqvae(path)  # raises, with the remedy
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    target = path.with_name(f"{path.stem}.{digest}.safetensors")
    if not target.is_file():
        note = {"converted_from": path.name}
        save_depth_vqvae(load_depth_vqvae(path), target, note, torch.float32)
    return target


def save_depth_vqvae(
    network: DepthVqVae, path: Path, notes: Mapping[str, str], dtype: torch.dtype = torch.float16
) -> None:
    """Write safetensors without training buffers; ``notes`` become its metadata."""
    state = {
        key: value.detach().to(dtype).contiguous()
        for key, value in network.state_dict().items()
        if key not in _TRAINING_ONLY
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    save_file(state, scratch, metadata=dict(notes))
    scratch.chmod(0o644)  # safetensors writes files only their owner can read
    scratch.replace(path)


def _released_state(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} is not a plain weights file and is not opened any further; get the released "
            "vae-final.pt again or use a .safetensors file."
        ) from error
    state = content.get("weights", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(
            f'{path} does not hold {{"weights": {{name: tensor}}}}; use the released '
            "vae-final.pt or a .safetensors file."
        )
    return {key.removeprefix("module."): value for key, value in state.items()}
