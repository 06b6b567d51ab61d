"""The depth VQ-VAE: same numbers as the published network, and files that are checked."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from molmoact_ros.model.depth_vqvae import DepthVqVae, VqVaeShape
from molmoact_ros.model.depth_weights import (
    load_depth_vqvae,
    network_from_state,
    save_depth_vqvae,
)
from molmoact_ros.reasoning.depth_text import depth_to_text

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "golden" / "vqvae"
FULL = ROOT.parent / "shared" / "golden" / "vqvae"

BIAS_FREE_NAMES = {
    "encoder.0": (16, 1, 4, 4),
    "encoder.2": (32, 16, 4, 4),
    "encoder.4": (64, 32, 4, 4),
    "encoder.6": (128, 64, 4, 4),
    "encoder.8": (256, 128, 4, 4),
    "encoder.10.net.0": (256, 256, 3, 3),
    "encoder.10.net.2": (256, 256, 3, 3),
    "encoder.10.net.4": (256, 256, 1, 1),
    "encoder.11.net.0": (256, 256, 3, 3),
    "encoder.11.net.2": (256, 256, 3, 3),
    "encoder.11.net.4": (256, 256, 1, 1),
    "encoder.12": (512, 256, 1, 1),
    "decoder.0": (256, 512, 1, 1),
    "decoder.2.net.0": (256, 256, 3, 3),
    "decoder.2.net.2": (256, 256, 3, 3),
    "decoder.2.net.4": (256, 256, 1, 1),
    "decoder.3.net.0": (256, 256, 3, 3),
    "decoder.3.net.2": (256, 256, 3, 3),
    "decoder.3.net.4": (256, 256, 1, 1),
    "decoder.4": (256, 256, 4, 4),
    "decoder.6": (256, 128, 4, 4),
    "decoder.8": (128, 64, 4, 4),
    "decoder.10": (64, 32, 4, 4),
    "decoder.12": (32, 16, 4, 4),
    "decoder.14": (1, 16, 1, 1),
}


def _check_case(network: DepthVqVae, case: dict[str, np.ndarray], i: int) -> None:
    picture = case[f"input_{i}"]
    if picture.dtype == np.uint8:
        picture = picture.astype(np.float32) / 255
    with torch.inference_mode():
        latents = network.latents(torch.from_numpy(picture))
        codes = network.encode(torch.from_numpy(picture))
        decoded = network.decode(torch.from_numpy(case[f"codes_{i}"].astype(np.int64)))
    clear = case[f"code_margin_{i}"] > 0.01
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(codes.numpy()[0][clear], case[f"codes_{i}"][0][clear])
    np.testing.assert_allclose(decoded.numpy(), case[f"decoded_{i}"], atol=1e-3)
    if f"latent_{i}" in case:
        np.testing.assert_allclose(latents.numpy(), case[f"latent_{i}"], atol=1e-3)
    if f"codes_text_{i}" in case:
        assert depth_to_text(case[f"codes_{i}"].ravel()) == str(case[f"codes_text_{i}"])


@pytest.fixture(scope="module")
def tiny() -> DepthVqVae:
    return load_depth_vqvae(TINY / "tiny_wrapped.pt")


def test_small_network_gives_the_recorded_numbers(tiny: DepthVqVae) -> None:
    """Codes are words of the policy's language: one wrong layer changes all of them."""
    case = dict(np.load(TINY / "tiny_case.npz"))
    _check_case(tiny, case, 0)
    with torch.inference_mode():
        latents = tiny.latents(torch.from_numpy(case["input_0"]))
        drawn = tiny.decode(torch.from_numpy(case["random_codes"].astype(np.int64)))
    np.testing.assert_allclose(latents.numpy(), case["latent_0"], atol=1e-4)
    np.testing.assert_allclose(drawn.numpy(), case["random_decoded"], atol=1e-3)


@pytest.mark.skipif(not FULL.is_dir(), reason="the full golden set lies outside the repository")
def test_vqvae_full_int8_full_cases_and_tiny_cases(tiny: DepthVqVae) -> None:
    packed = np.load(FULL / "full_int8.npz")
    state = {
        name[:-2]: torch.from_numpy(packed[name].astype(np.float32) * packed[f"{name[:-2]}.scale"])
        for name in packed.files
        if name.endswith(".q")
    }
    for network, name in ((tiny, "tiny"), (network_from_state(state), "full")):
        case = dict(np.load(FULL / f"{name}_cases.npz"))
        numbers = [int(key[6:]) for key in case if key.startswith("input_")]
        assert numbers
        for i in numbers:
            _check_case(network, case, i)
        with torch.inference_mode():
            drawn = network.decode(torch.from_numpy(case["random_codes"].astype(np.int64))).numpy()
        if "random_decoded" in case:
            np.testing.assert_allclose(drawn, case["random_decoded"], atol=1e-3)
        else:
            np.testing.assert_allclose(
                drawn[..., ::4, ::4], case["random_decoded_every4"], atol=1e-3
            )


def test_released_names_and_shapes() -> None:
    """vae-final.pt must load by name; 7.82 million numbers in all."""
    state = DepthVqVae().state_dict()
    expected = {f"{name}.weight": shape for name, shape in BIAS_FREE_NAMES.items()}
    found = {k: tuple(v.shape) for k, v in state.items() if k.endswith("weight")}
    assert found == expected
    assert {k for k in state if k.endswith("bias")} == {f"{name}.bias" for name in BIAS_FREE_NAMES}
    assert tuple(state["_vq_vae._embedding"].shape) == (128, 512)
    assert tuple(state["_vq_vae._ema_cluster_size"].shape) == (128,)
    assert tuple(state["_vq_vae._ema_w"].shape) == (128, 512)
    assert sum(v.numel() for v in state.values()) == pytest.approx(7.82e6, rel=0.02)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_files_of_either_spelling_load(
    tiny: DepthVqVae, tmp_path: Path, prefix: str, wrapped: bool
) -> None:
    state = {prefix + name: value for name, value in tiny.state_dict().items()}
    torch.save({"weights": state} if wrapped else state, tmp_path / "vae.pt")
    again = load_depth_vqvae(tmp_path / "vae.pt")
    assert again.shape == VqVaeShape(width=4, codes=128, code_size=32)
    assert not again.training
    for name, value in tiny.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_half_precision_file_keeps_the_codes(tiny: DepthVqVae, tmp_path: Path) -> None:
    """Our own weights travel as float16; what training alone needs stays behind."""
    path = tmp_path / "w" / "vae.safetensors"
    save_depth_vqvae(tiny, path, {"made_by": "a test"})
    assert [p.name for p in path.parent.iterdir()] == ["vae.safetensors"]
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"made_by": "a test"}
        names = list(file.keys())
        assert names and not [name for name in names if "ema" in name]
        assert all(file.get_tensor(name).dtype == torch.float16 for name in names)
    case = np.load(TINY / "tiny_case.npz")
    with torch.inference_mode():
        codes = load_depth_vqvae(path).encode(torch.from_numpy(case["input_0"]))
    assert (codes.numpy() == case["codes_0"]).mean() > 0.9


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch SHOULD_NOT_EXIST",)


def test_a_weights_file_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"weights": _Evil()}, buffer)
    (tmp_path / "evil.pt").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="not opened any further"):
        load_depth_vqvae(tmp_path / "evil.pt")
    assert not (tmp_path / "SHOULD_NOT_EXIST").exists()


def _broken(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    state = dict(state)
    if how == "missing":
        del state["decoder.14.bias"]
    elif how == "unknown":
        state["decoder.99.weight"] = torch.zeros(1)
    elif how == "of another shape":
        state["encoder.2.weight"] = torch.zeros(3, 3)
    else:
        state["encoder.0.bias"] = torch.full((4,), float("nan"))
    return state


@pytest.mark.parametrize("how", ["missing", "unknown", "of another shape", "not finite"])
def test_damaged_weights_are_named(tiny: DepthVqVae, how: str) -> None:
    """A network that loads halfway draws plausible nonsense."""
    names = {
        "missing": "decoder.14.bias",
        "unknown": "decoder.99.weight",
        "of another shape": "encoder.2.weight",
        "not finite": "encoder.0.bias",
    }
    with pytest.raises(ValueError, match=f"{how}: {names[how]}"):
        network_from_state(_broken(tiny.state_dict(), how))


def test_other_files_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="molmoact vqvae train"):
        load_depth_vqvae(tmp_path / "none.pt")
    torch.save({"weights": {"a": torch.zeros(2)}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"vae-final\.pt"):
        load_depth_vqvae(tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"vae-final\.pt"):
        load_depth_vqvae(tmp_path / "list.pt")
