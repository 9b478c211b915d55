"""The paper's tables and figures with many runs in them: python -m sadajem_jax.tables W1 W2 ..."""
