"""`irchroma bench service`: a service that is watched, changed and robbed of its camera for a while.

Imported by the command table alone.
"""
