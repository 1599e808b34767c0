"""Clients by others, each a script that runs alone in an environment of its own and imports nothing of ours.

``python NAME.py URL SYMBOLS COUNT FOLDER`` receives so many trades and prints one line of JSON: messages, seconds and
CPU seconds (all threads of the process) from the first message to the last.
"""
