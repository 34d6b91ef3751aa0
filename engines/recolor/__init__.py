"""Small color onto full-size luma: color spaces, base tone, guided upsampling, size of a network's picture.

Numpy and OpenCV only; every other part of engines may import it.
"""
