"""Weight files as bytes <-> {name: array}, without PyTorch."""
