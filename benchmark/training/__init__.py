"""One job: from its config to predictions and provenance."""
