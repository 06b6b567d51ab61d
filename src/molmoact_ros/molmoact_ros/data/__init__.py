"""From recorded episodes to labelled training data: labels, checks, and other people's formats."""
