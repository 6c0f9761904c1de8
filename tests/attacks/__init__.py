"""Attacks of people on a room: each goes against the product's real processes, and the account is compared with the truth."""
