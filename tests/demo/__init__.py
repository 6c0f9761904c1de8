"""A whole interview on stand-in equipment, by the product's own processes and commands; ``./demo`` runs it."""
