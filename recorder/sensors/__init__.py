"""The processes that measure the room beside picture and sound: temperature and humidity.

They tell what they measure in their status, and write nothing into a session.
"""
