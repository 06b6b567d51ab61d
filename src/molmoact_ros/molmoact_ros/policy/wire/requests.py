"""What a robot asks of a policy server. Ids grow with every request of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from molmoact_ros.policy.base import Driving, Observation
from molmoact_ros.policy.startup_checks import ModelDescription, same_aspect
from molmoact_ros.policy.wire import fields
from molmoact_ros.policy.wire.codec import WireError
from molmoact_ros.policy.wire.pictures import picture_from_wire, picture_to_wire
from molmoact_ros.reasoning.prompts import BadInstruction, check_instruction

MAX_TRACE_POINTS = 5
_MAX_ROWS = 1000
_THINK_FIELDS = (
    "type", "id", "stamp", "instruction", "images", "steering", "executed", "ahead",
)  # fmt: skip


@dataclass(frozen=True)
class Reset:
    """A goal starts. Answered with ``reset_done`` or ``failed``."""

    id: int
    instruction: str


@dataclass(frozen=True, eq=False)
class Think:
    """Answered with ``segment`` messages, then ``thought``, ``refused`` or ``failed``."""

    id: int
    observation: Observation


@dataclass(frozen=True)
class Cancel:
    """Stop request ``id``; not answered by itself, since the request it stops is."""

    id: int


Request = Reset | Think | Cancel


def request_to_wire(request: Request, jpeg: bool = False) -> dict[str, Any]:
    """A message. ``jpeg``: pack pictures with JPEG. Raises WireError for pictures it cannot."""
    if isinstance(request, Reset):
        return {"type": "reset", "id": request.id, "instruction": request.instruction}
    if isinstance(request, Cancel):
        return {"type": "cancel", "id": request.id}
    seen = request.observation
    steering, driving = seen.steering, seen.driving
    message = {
        "type": "think",
        "id": request.id,
        "stamp": float(seen.stamp),
        "instruction": seen.instruction,
        "images": [picture_to_wire(image, jpeg) for image in seen.images],
        "steering": None if steering is None else np.asarray(steering, np.float32),
    }
    if driving is not None:
        message["executed"] = driving.executed
        message["ahead"] = np.asarray(driving.ahead, np.float64)
    return message


def read_request(message: Mapping[str, Any], model: ModelDescription) -> Request:
    """The request in a message, checked against what ``model`` can see. Raises WireError."""
    kind = message.get("type")
    if kind == "cancel":
        fields.only(message, ("type", "id"))
        return Cancel(fields.whole(message, "id"))
    if kind == "reset":
        fields.only(message, ("type", "id", "instruction"))
        return Reset(fields.whole(message, "id"), read_instruction(message, "instruction"))
    if kind == "think":
        fields.only(message, _THINK_FIELDS)
        return Think(fields.whole(message, "id"), _observation(message, model))
    raise WireError(f"a message of type {str(kind)[:40]!r} came; send reset, think or cancel")


def check_pictures(pictures: tuple[Any, ...], model: ModelDescription) -> None:
    """Raises WireError unless there is one picture per camera, of the size the model wants."""
    if len(pictures) != len(model.cameras):
        raise WireError(
            f"{len(pictures)} picture(s) came, the model looks through {len(model.cameras)}; "
            f"send {', '.join(model.cameras)}"
        )
    for name, picture in zip(model.cameras, pictures, strict=True):
        size = (picture.shape[1], picture.shape[0])
        if model.image_size is not None and not same_aspect(model.image_size, size):
            raise WireError(
                f"the {name} picture is {size}; send the aspect of {model.image_size} (width, "
                "height)"
            )


def read_instruction(message: Mapping[str, Any], key: str) -> str:
    """An instruction that can be asked. Raises WireError."""
    instruction = fields.text(message, key)
    try:
        check_instruction(instruction)
    except BadInstruction as error:
        raise WireError(str(error)) from None
    return instruction


def _observation(message: Mapping[str, Any], model: ModelDescription) -> Observation:
    entries = fields.items(message, "images")
    if len(entries) > len(model.cameras):
        raise WireError(f"{len(entries)} pictures came; send {len(model.cameras)}")
    images = tuple(picture_from_wire(entry, model.max_image_side) for entry in entries)
    check_pictures(images, model)
    steering = None
    if message.get("steering") is not None:
        steering = fields.array(message, "steering", "float32", (None, 2))
        if not 1 <= len(steering) <= MAX_TRACE_POINTS or steering.min() < 0 or steering.max() > 255:
            raise WireError(
                f"the drawn trace has {len(steering)} points or leaves the picture; send 1 to "
                f"{MAX_TRACE_POINTS} points on the 0..255 grid"
            )
        if not model.steering:
            raise WireError("this model cannot follow drawn traces; send no steering")
    return Observation(
        stamp=fields.number(message, "stamp"),
        images=images,
        instruction=read_instruction(message, "instruction"),
        steering=steering,
        driving=_driving(message, model),
    )


def _driving(message: Mapping[str, Any], model: ModelDescription) -> Driving | None:
    if message.get("executed") is None and message.get("ahead") is None:
        return None
    executed = fields.whole(message, "executed", high=_MAX_ROWS)
    ahead = fields.array(message, "ahead", "float64", (None, None))
    if len(ahead) and (ahead.shape[1] != model.dims or len(ahead) > model.rows):
        raise WireError(
            f"the rows being driven have shape {list(ahead.shape)}; send at most {model.rows} of "
            f"{model.dims}"
        )
    return Driving(executed, ahead)
