"""Real models to trade with and the data they are for. Needs the extra `models`."""
