"""Checking a disc, an image or a mounted disc against its own lists, signatures and journals.

``read`` reads everything once, ``records`` holds it against the signed list of what was delivered, ``labels`` the disc's names,
``kit`` the files for whoever has the disc alone, and ``disc`` gives the verdict. Nothing is written here.
"""
