"""The gripper's place asked of Molmo2, from a tiny folder of random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import Molmo2Config, Molmo2ForConditionalGeneration, PreTrainedTokenizerFast

from molmoact_ros.cli import main
from molmoact_ros.data import label_command
from molmoact_ros.data.dataset import DataSet
from molmoact_ros.data.local_models import BadModel
from molmoact_ros.data.molmo2_prompt import Molmo2Prompt
from molmoact_ros.data.pointing import MolmoPointer

sys.path.insert(0, str(Path(__file__).parent))
from bag_writing_helpers import write_bag

SPECIAL = [
    "<|endoftext|>", "<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>",
    "<im_end>", "<frame_end>", "<im_low>", "<|image|>", "<|video|>",
]  # fmt: skip
WORDS = [f'<points coords="{i} 1 250 500"/>' for i in range(5)]
"""Whatever word the random network says: Molmo2's way of pointing at (0.25, 0.5)."""
TEMPLATE = (
    "{% for m in messages %}User: {% for c in m.content %}{% if c.type == 'image' %}<|image|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endfor %} Assistant:"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("molmo2")
    vocabulary = {word: i for i, word in enumerate(WORDS + SPECIAL)}
    words = Tokenizer(WordLevel(vocabulary, unk_token=WORDS[0]))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token=SPECIAL[0], additional_special_tokens=SPECIAL[1:]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(out)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    sizes = {"hidden_size": 16, "intermediate_size": 16, **heads}
    config = Molmo2Config(
        vision_config={**sizes, "num_hidden_layers": 2},
        adapter_config={**sizes, "vision_feature_layer": [0, 1], "text_hidden_size": 16},
        text_config={
            **sizes, "num_hidden_layers": 1, "vocab_size": len(WORDS),
            "additional_vocab_size": len(SPECIAL),
        },
        image_start_token_id=vocabulary["<im_start>"],
        low_res_image_start_token_id=vocabulary["<low_res_im_start>"],
        image_end_token_id=vocabulary["<im_end>"],
        image_patch_id=vocabulary["<im_patch>"],
        frame_start_token_id=vocabulary["<frame_start>"],
        frame_end_token_id=vocabulary["<frame_end>"],
    )  # fmt: skip
    network = Molmo2ForConditionalGeneration(config)
    for values in network.parameters():
        if values.ndim > 1:  # transformers' own values are too small to make a difference
            torch.nn.init.xavier_normal_(values)
    network.save_pretrained(out)
    return out


def test_the_prompt_holds_a_token_for_every_window_of_the_picture(folder: Path) -> None:
    rgb = np.zeros((480, 640, 3), np.uint8)
    made = Molmo2Prompt(folder)(rgb, "Point to it.")
    ids = made["input_ids"][0].tolist()
    count = {name: ids.count(len(WORDS) + SPECIAL.index(name)) for name in SPECIAL}
    assert made["image_grids"].tolist() == [[14, 14, 23, 23]]
    assert count["<im_patch>"] == 14 * 14 + 23 * 23 == len(made["image_token_pooling"])
    assert (count["<im_col>"], count["<im_end>"]) == (14 + 23, 2)
    assert (count["<low_res_im_start>"], count["<im_start>"], count["<|image|>"]) == (1, 1, 0)
    assert ids[0] == len(WORDS) + SPECIAL.index("<|endoftext|>")
    assert made["mm_token_type_ids"].sum() == 14 * 14 + 23 * 23 + 14 + 23 + 4
    assert made["pixel_values"].shape == (5, 27 * 27, 14 * 14 * 3)


def test_the_network_is_asked_and_its_answer_read(folder: Path) -> None:
    assert MolmoPointer(folder, "cpu").point(np.zeros((96, 128, 3), np.uint8)) == (0.25, 0.5)


def test_the_pictures_reach_the_network(folder: Path) -> None:
    pointer = MolmoPointer(folder, "cpu")
    rng = np.random.default_rng(0)
    said = []
    for rgb in (np.zeros((96, 128, 3), np.uint8), rng.integers(0, 255, (96, 128, 3))):
        inputs = pointer._prompt(rgb.astype(np.uint8), "Where?")
        with torch.inference_mode():
            said.append(pointer._model(**inputs).logits[0, -1])
    assert not torch.allclose(said[0], said[1], atol=1e-6)


def test_a_pointer_alone_makes_the_traces(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(MolmoPointer):
        """The real one is asked once; 22 times would take long."""

        def point(self, rgb: np.ndarray) -> tuple[float, float] | None:
            monkeypatch.setattr(Counting, "point", lambda *_: found)
            found = super().point(rgb)
            return found

    monkeypatch.setattr(label_command, "MolmoPointer", Counting)
    bag, out = write_bag(tmp_path, "one"), tmp_path / "data"
    command = ["label", str(bag), "--out", str(out), "--set", "image_size=[64,48]"]
    assert main([*command, "--pointer", str(folder), "--device", "cpu"]) == 0
    label_command._pointer.cache_clear()
    data = DataSet(out, "")
    assert data.card.trace_source == data.episodes[0].info["trace_source"] == "molmo"
    assert all(t is not None and t[0].tolist() == [64, 128] for t in data.episodes[0].traces)


def test_a_model_that_brings_its_own_code_is_refused(tmp_path: Path) -> None:
    config = {"model_type": "molmo", "auto_map": {"AutoConfig": "config_molmo.MolmoConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadModel, match="never run here"):
        MolmoPointer(tmp_path)
    with pytest.raises(FileNotFoundError, match="Molmo2-4B"):
        MolmoPointer(tmp_path / "nothing")


def test_traces_by_a_model_need_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["label", str(tmp_path), "--out", str(tmp_path / "d"), "--set", "trace_source=molmo"]
    assert main(command) == 2
    assert "--pointer" in capsys.readouterr().err
