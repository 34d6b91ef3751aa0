"""What a viewer is shown: views, readings, cards.

Stands on `picture`; knows neither sources nor sinks.
"""
