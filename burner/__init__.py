"""From a sealed session to discs that were read back.

Of a session it changes nothing but the folder ``disc/``.
"""
