"""What every node shares: lifecycle discipline, described parameters, QoS, diagnostics, main().

Nodes are lifecycle nodes that bring themselves up when ``autostart`` is true (the default),
so that plain ``ros2 launch`` and a lifecycle manager both work. Callbacks only move data;
slow objects live in threads that own them. One SingleThreadedExecutor a node.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
)
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.signals import SignalHandlerOptions

SENSOR_QOS = QoSProfile(
    depth=2, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT
)
"""Cameras and robot state in; drawn images out."""

COMMAND_QOS = QoSProfile(
    depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)

LATCHED_QOS = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

TF_STATIC_QOS = QoSProfile(
    depth=100,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class SetupError(RuntimeError):
    """The node cannot be configured; the message says what to change."""


class ManagedNode(LifecycleNode):
    """Base of our nodes. Subclasses implement ``setup`` (once), ``start``, ``halt``, ``teardown``.

    ``setup`` may raise SetupError: the node stays unconfigured and says why in one sentence.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.active = False
        self.declare("autostart", True, "configure and activate without a lifecycle manager")
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._publish_diagnostics)

    def setup(self) -> None: ...

    def start(self) -> None: ...

    def halt(self) -> None: ...

    def teardown(self) -> None: ...

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Level, one sentence, and named values for /diagnostics."""
        return OK, "running" if self.active else "not active", {}

    def declare(
        self,
        name: str,
        default: Any,
        description: str,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        """A described, range-checked parameter; list defaults must not be empty."""
        descriptor = ParameterDescriptor(description=description)
        if bounds is not None and isinstance(default, int) and not isinstance(default, bool):
            low, high = (int(b) for b in bounds)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
        elif bounds is not None:
            # A profile may write 50 where 50.0 is meant: accept both, the range still holds.
            descriptor.type = ParameterType.PARAMETER_DOUBLE
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=bounds[0], to_value=bounds[1], step=0.0)
            ]
        self.declare_parameter(name, default, descriptor)

    def value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def now(self) -> float:
        """Seconds of the node's clock, the one message stamps are compared with."""
        return float(self.get_clock().now().nanoseconds) * 1e-9

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.setup()
        except SetupError as problem:
            self.get_logger().error(str(problem))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.start()
        self.active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        self.halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.teardown()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self.active:
            self.active = False
            self.halt()
        self.teardown()
        return TransitionCallbackReturn.SUCCESS

    def _publish_diagnostics(self) -> None:
        level, message, values = self.diagnose()
        status = DiagnosticStatus(
            level=level,
            name=f"{self.get_fully_qualified_name().lstrip('/')}: status",
            message=message,
            hardware_id="molmoact_ros",
            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


class Stopping(threading.Event):
    """Set by SIGINT or SIGTERM; the executor that ``wakes`` names then looks up from its sleep."""

    signaled = False
    _waker: threading.Thread | None = None

    def wakes(self, executor: Executor) -> None:
        def wait() -> None:
            self.wait()
            executor.create_task(lambda: None)

        self._waker = threading.Thread(target=wait, name="wake", daemon=True)
        self._waker.start()

    def finish(self) -> None:
        """Call before the executor is shut down: from then on it cannot be woken."""
        self.set()
        if self._waker is not None:
            self._waker.join()


def start_ros(args: Sequence[str] | None = None) -> Stopping:
    """rclpy.init for a process whose end is ``Stopping``.

    rclpy's own handlers would end the context at once, under threads that still publish. So
    signals are blocked everywhere and one thread waits for them.
    """
    stop_signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stopping = Stopping()

    def wait() -> None:
        signal.sigwait(stop_signals)
        stopping.signaled = True
        stopping.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stopping


def run(node_class: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> None:
    """main() of a node: spins until SIGINT or SIGTERM, then halts and tears the node down."""
    stopping = start_ros(args)
    node = node_class()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stopping.wakes(executor)
    status = 0
    try:
        if node.value("autostart"):
            if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
                status = 1
            else:
                node.trigger_activate()
                # What is there by now stays. Without this, collections walk through all of torch
                # again and again: half of the time of the policy node's main thread.
                gc.collect()
                gc.freeze()
        while status == 0 and not stopping.is_set():
            executor.spin_once()
    except ExternalShutdownException:
        pass  # the context was ended by somebody else: shut down all the same
    finally:
        if node.active:
            node.active = False
            node.halt()
        node.teardown()
        stopping.finish()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    if status:
        sys.exit(status)
