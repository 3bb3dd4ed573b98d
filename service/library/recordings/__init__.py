"""Recordings: where they lie, how they are read, and the row of one."""
