"""The operator's page: an aiohttp server and static files; knows no ROS."""
