"""The checks of the self-check, one small file each, named after what it checks.

``microphone_level`` finds a silent microphone, ``camera_light`` a dark picture, ``disk_space`` a disk that is too full for a
session. A check measures and judges; it stores nothing and changes nothing.
"""
