"""``molmoact serve``: a checkpoint on this machine thinks for a robot elsewhere. Needs no ROS."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys

from molmoact_ros.access import BindRefusedError, check_bind
from molmoact_ros.policy.base import Policy, PolicyError
from molmoact_ros.policy.startup_checks import ModelDescription
from molmoact_ros.viz.terminal import Terminal

log = logging.getLogger(__name__)

TOKEN_VARIABLE = "MOLMOACT_TOKEN"
EXIT_OK, EXIT_REFUSED = 0, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``molmoact serve``."""
    parser.add_argument(
        "--model", required=True, help="folder of a MolmoAct checkpoint, or owner/name@commit"
    )
    parser.add_argument("--adapter", default="", help="folder of a LoRA fine-tuning of it")
    parser.add_argument(
        "--unnorm-key", default="", help="statistics key; default: the checkpoint's own"
    )
    parser.add_argument("--images", type=int, default=2, help="cameras, external first")
    parser.add_argument("--rows", type=int, help="actions in a chunk; default: the card's, or 8")
    parser.add_argument(
        "--continue-rows",
        action="store_true",
        help="begin a chunk with the rows the robot drives while the model thinks",
    )
    parser.add_argument(
        "--quantize", choices=("fp8", "int8", "int4"), help="weights through torchao, NOT exact"
    )
    parser.add_argument("--device", default="", help="cpu or cuda; default: cuda if there is one")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind; others need a token")
    parser.add_argument("--port", type=int, default=8770, help="TCP port; 0 takes a free one")
    parser.add_argument(
        "--token",
        default=None,
        help=f"secret of at least 16 characters; better in the variable {TOKEN_VARIABLE}, "
        "since other users of this machine see command lines",
    )


def run(values: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; the exit status. What went wrong is said on stderr."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    # The library logs every broken handshake with a traceback; port scanners make many.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    token = os.environ.get(TOKEN_VARIABLE, "") if values.token is None else values.token
    try:
        # Before minutes of loading: a refused address is known at once.
        check_bind(values.host, token, risk="use this policy")
        if not 0 <= values.port <= 65_535:
            raise PolicyError(f"port is {values.port}; use 0 to 65535")
        policy, model = _load(values)
        asyncio.run(serve_policy(policy, model, values.host, values.port, token))
    except (BindRefusedError, PolicyError) as error:
        sys.stderr.write(f"molmoact serve: {error}\n")
        return EXIT_REFUSED
    except OSError as error:
        sys.stderr.write(
            f"molmoact serve: cannot listen at {values.host}:{values.port} ({error}); "
            "choose another port with --port\n"
        )
        return EXIT_REFUSED
    return EXIT_OK


async def serve_policy(
    policy: Policy, model: ModelDescription, host: str, port: int, token: str
) -> None:
    """Serve until SIGINT or SIGTERM. Raises BindRefusedError, OSError."""
    from molmoact_ros.serving.server import PolicyServer

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = PolicyServer(policy, model, host=host, port=port, token=token)
    async with server.listen() as bound:
        log.info("%s; weights: %s", policy.description, model.origin)
        log.info("listening at ws://%s:%d (openpi clients: /openpi)", host, bound)
        await stop.wait()
        log.info("stopping")


def _load(values: argparse.Namespace) -> tuple[Policy, ModelDescription]:
    # Late: these take seconds, and --help needs none of them.
    import torch

    from molmoact_ros.policy.molmoact import MolmoActPolicy

    device = values.device or ("cuda" if torch.cuda.is_available() else "cpu")
    policy = MolmoActPolicy(
        values.model,
        values.unnorm_key or None,
        values.images,
        values.rows,
        device=device,
        adapter=values.adapter,
        continue_rows=values.continue_rows,
        quantize=values.quantize,
        progress=Terminal(sys.stderr).progress("loading"),
    )
    return policy, policy.model
