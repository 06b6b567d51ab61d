"""The policy server: a model on one machine, a robot on another. Needs no ROS."""
