"""The configs that come with the program: `get_config()` each."""
