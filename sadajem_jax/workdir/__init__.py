"""What a run leaves in its folder: checkpoints, records, config and identity."""
