"""The operator's services of the policy node: draw a path, clear it, answer a plan."""

from __future__ import annotations

from collections.abc import Callable

from molmoact_msgs.msg import VisualTrace
from molmoact_msgs.srv import ReviewPlan, SteerTrace
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from molmoact_ros.nodes import convert
from molmoact_ros.nodes.runtime import LATCHED_QOS, ManagedNode
from molmoact_ros.policy.observations import ObservationBuffer
from molmoact_ros.policy.operator_desk import Decision, OperatorDesk
from molmoact_ros.reasoning.sketch import BadSketch, Sketch, check_picture_age, check_points

DECISIONS = {
    ReviewPlan.Request.APPROVE: Decision.APPROVE,
    ReviewPlan.Request.RETHINK: Decision.RETHINK,
    ReviewPlan.Request.REJECT: Decision.REJECT,
}
LIFETIMES = (SteerTrace.Request.NEXT_CHUNK, SteerTrace.Request.UNTIL_CLEARED)


class OperatorServices:
    """``~/steer_trace``, ``~/clear_steering``, ``~/review_plan``, and the topic
    ``~/steering_trace`` (latched): the path that steers now, empty when none does.

    steer: puts a checked path on the desk (and drops the running chunk when told to);
    changed: called after every change, in the executor's thread.
    """

    def __init__(
        self,
        node: ManagedNode,
        desk: OperatorDesk,
        buffer: ObservationBuffer,
        steer: Callable[[Sketch, bool], None],
        changed: Callable[[], None],
    ) -> None:
        self._node, self._desk, self._buffer = node, desk, buffer
        self._steer, self._changed = steer, changed
        self._shown: Sketch | None = None
        self._trace = node.create_publisher(VisualTrace, "~/steering_trace", LATCHED_QOS)
        node.create_service(SteerTrace, "~/steer_trace", self._steer_service)
        node.create_service(Trigger, "~/clear_steering", self._clear_service)
        node.create_service(ReviewPlan, "~/review_plan", self._review_service)
        # A path ends with its chunk or goal, in the goal's thread; the topic follows here.
        self._timer = node.create_timer(0.1, self.publish)

    def sketch_from(self, trace: VisualTrace, until_cleared: bool) -> Sketch:
        """A checked path. Raises BadSketch with what to change."""
        points = check_points(convert.trace_points(trace))
        stamp = convert.seconds(trace.header.stamp)
        check_picture_age(stamp, self._node.now())
        size = self._buffer.image_size()
        drawn = (int(trace.image_width), int(trace.image_height))
        if all(drawn) and size is not None and drawn != size:
            raise BadSketch(
                f"the path was drawn on a {drawn[0]}x{drawn[1]} picture, the external camera "
                f"gives {size[0]}x{size[1]}; draw on that camera's picture"
            )
        return Sketch(points, stamp, until_cleared)

    def publish(self) -> None:
        """Tell which path steers now, when that has changed."""
        sketch = self._desk.sketch
        if sketch is self._shown:
            return
        self._shown = sketch
        message = VisualTrace(source=VisualTrace.SOURCE_HUMAN)
        message.header.stamp = self._node.get_clock().now().to_msg()
        if sketch is not None:
            message = human_trace(sketch, self._buffer.image_size())
        self._trace.publish(message)
        self._changed()

    def _steer_service(
        self, request: SteerTrace.Request, response: SteerTrace.Response
    ) -> SteerTrace.Response:
        if not self._node.active:
            response.message = "the policy node is not active: activate it first"
            return response
        if request.lifetime not in LIFETIMES:
            response.message = f"lifetime {request.lifetime}: 0 next chunk or 1 until cleared"
            return response
        until_cleared = request.lifetime == SteerTrace.Request.UNTIL_CLEARED
        try:
            sketch = self.sketch_from(request.trace, until_cleared)
        except BadSketch as bad:
            response.message = str(bad)
            return response
        self._steer(sketch, bool(request.preempt))
        self.publish()
        response.accepted = True
        response.message = "your path steers " + (
            "until you clear it" if until_cleared else "the next chunk"
        )
        return response

    def _clear_service(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        had = self._desk.clear()
        self.publish()
        response.success = True
        response.message = "path cleared; the robot thinks for itself" if had else "no path was set"
        return response

    def _review_service(
        self, request: ReviewPlan.Request, response: ReviewPlan.Response
    ) -> ReviewPlan.Response:
        decision = DECISIONS.get(request.decision)
        if decision is None:
            response.message = f"decision {request.decision}: 0 approve, 1 rethink or 2 reject"
            return response
        response.message = self._desk.decide(request.chunk_id, decision)
        response.accepted = not response.message
        if response.accepted:
            response.message = {
                Decision.APPROVE: f"plan {request.chunk_id} approved",
                Decision.RETHINK: "thinking again",
                Decision.REJECT: "rejected; the arm holds",
            }[decision]
        return response


def human_trace(sketch: Sketch, size: tuple[int, int] | None) -> VisualTrace:
    """The path as a message about the picture it was drawn on; size: its pixels across, down."""
    header = Header(stamp=convert.to_time(sketch.stamp), frame_id="external_color_optical_frame")
    width, height = size or (0, 0)
    return convert.trace_message(
        sketch.points.tolist(),
        header,
        source=VisualTrace.SOURCE_HUMAN,
        image_width=width,
        image_height=height,
    )
