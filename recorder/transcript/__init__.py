"""The written record (笔录): reading the file, finding the stated times, comparing them with the official ones.

``document`` reads the file, ``finding`` finds start and end in its text, ``comparing`` gives the verdict. Nothing is stored
here.
"""
