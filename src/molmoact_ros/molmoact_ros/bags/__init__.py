"""Episodes on disk: written so that a pulled plug costs half a second, checked, repaired, replayed.

Pure Python and no ROS: messages are bytes (CDR) with a type name, a definition and a hash.
"""
