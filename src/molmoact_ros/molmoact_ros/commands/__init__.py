"""Subcommands of ``molmoact`` that need no robot: one thought, one checkpoint."""
