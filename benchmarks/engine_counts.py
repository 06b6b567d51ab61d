"""Forwards of a thought, counted without arithmetic: 64 rows a forward, as on a GPU.

    ./run shell python benchmarks/engine_counts.py    # a few minutes; results/engine_counts.json

Every answer is compared with the scripted one. "D" is the vocabulary of 7B-D (of its size and with
its spelling of action bins), "nano" our own small one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
from engine_recital import count, scene

from molmoact_ros.engine.answers import AnswerShape, answer_automaton
from molmoact_ros.engine.grammar import AnswerGrammar, Vocabulary
from molmoact_ros.engine.settings import Mode
from molmoact_ros.model.nano_tokenizer import build_nano_tokenizer
from molmoact_ros.model.stand_in_tokenizer import stand_in_tokenizer

HITS = (0.0, 0.5, 0.8, 0.9, 1.0)
STEPS, WARM = 40, 3
SHARES = {0.8: 4, 1.0: 20}
"""What is asked: plain / engine at this share of depth codes that stay."""


def main() -> None:
    rows = []
    print("| vocabulary | mode | depth codes that stay | forwards | plain | ratio | asked |")
    print("|---|---|---|---|---|---|---|")
    for name, tokenizer in (("D", stand_in_tokenizer(152064)), ("nano", build_nano_tokenizer())):
        vocabulary = Vocabulary(tokenizer)
        automaton = answer_automaton(AnswerShape(("multi",)), tokenizer)
        grammar = AnswerGrammar(tokenizer, automaton, vocabulary)
        for mode in get_args(Mode):
            if mode == "plain":
                continue
            for hits in HITS:
                found = count(tokenizer, vocabulary, grammar, mode, scene(hits, STEPS))[WARM:]
                ours, plain = np.mean(found, axis=0)
                asked = f"at least {SHARES[hits]}" if hits in SHARES else ""
                print(
                    f"| {name} | {mode} | {hits} | {ours:.1f} | {plain:.0f} | {plain / ours:.1f} "
                    f"| {asked} |",
                    flush=True,
                )
                row: dict[str, object] = {"vocabulary": name, "mode": mode, "hits": hits}
                row |= {"steps": len(found), "forwards": round(float(ours), 2)}
                rows.append(row | {"plain": round(float(plain), 2)})
    target = Path(__file__).parent / "results" / "engine_counts.json"
    target.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
