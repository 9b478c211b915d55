"""A trained model in somebody's hands: its network, scores, chains, samples and pictures."""
