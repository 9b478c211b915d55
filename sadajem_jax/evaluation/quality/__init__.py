"""How good generated images are: networks that see features, and measures over them."""
