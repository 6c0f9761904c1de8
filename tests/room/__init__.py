"""The whole room: the product's own processes on the stand-in equipment, one thing broken at a time."""
