"""What travels between a robot and a policy server; used by both ends."""
