"""The scripted policy: sees, remembers, plans and answers in the words of a model.

It uses only what a robot could know (no ground truth). The way of one image: ``perception``
finds the objects, ``scene_memory`` fuses them over time, ``expert`` decides one row,
``rollout`` repeats it into a chunk and a path, ``policy`` spells them as an answer text.
"""
