"""Pictures for people: depth, traces, 3-D paths, film frames. numpy, OpenCV and Pillow only."""
