"""How good and how steady color is: fidelity, sureness, flicker.

Scikit-image is imported when asked for; nothing of the frame path imports this.
"""
