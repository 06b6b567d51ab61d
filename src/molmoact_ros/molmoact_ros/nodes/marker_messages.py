"""Plain drawings of viz/markers.py as visualization_msgs markers."""

from __future__ import annotations

from collections.abc import Iterable

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from molmoact_ros.viz.markers import Box, Dashes, Label, LineStrip, Rgba, Spheres
from molmoact_ros.viz.markers import Marker as Drawing


def marker_array(drawings: Iterable[Drawing], stamp: Time) -> MarkerArray:
    """One message for all drawings; empty ones delete what they drew before."""
    return MarkerArray(markers=[_marker(drawing, stamp) for drawing in drawings])


def _marker(drawing: Drawing, stamp: Time) -> Marker:
    marker = Marker(
        header=Header(stamp=stamp, frame_id=drawing.frame), ns=drawing.namespace, id=drawing.id
    )
    marker.pose.orientation.w = 1.0
    if isinstance(drawing, Label):
        marker.type, marker.text = Marker.TEXT_VIEW_FACING, drawing.text
        marker.scale.z = drawing.height
        marker.color = _colour(drawing.colour)
        x, y, z = map(float, drawing.position)
        marker.pose.position = Point(x=x, y=y, z=z)
        if not drawing.text:
            marker.action = Marker.DELETE
        return marker
    if isinstance(drawing, (Box, Dashes)):
        marker.type = Marker.LINE_LIST
        if not len(drawing.edges):
            marker.action = Marker.DELETE
        marker.scale.x = drawing.width
        marker.color = _colour(drawing.colour)
        marker.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in drawing.edges]
        return marker
    if isinstance(drawing, LineStrip):
        marker.type, least = Marker.LINE_STRIP, 2
        marker.scale.x = drawing.width
    else:
        assert isinstance(drawing, Spheres)
        marker.type, least = Marker.SPHERE_LIST, 1
        marker.scale.x = marker.scale.y = marker.scale.z = drawing.diameter
    if len(drawing.points) < least:
        marker.action = Marker.DELETE
        return marker
    marker.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in drawing.points]
    marker.colors = [_colour(c) for c in drawing.colours]
    return marker


def _colour(rgba: Rgba) -> ColorRGBA:
    r, g, b, a = map(float, rgba)
    return ColorRGBA(r=r, g=g, b=b, a=a)
