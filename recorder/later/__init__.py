"""Pictures that the composite lacks, composed after the seal from the originals and marked as such.

They lie in ``later/`` with their own signed record. What was sealed is only read here.
"""
