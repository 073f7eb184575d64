"""One folder a method: its network, its LightningModule, and a README that says what its paper says."""
