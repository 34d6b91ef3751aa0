"""Names under which addresses carry secrets in their query, as cameras and servers of many makes call them.

`?user=admin&pwd=..` (many motion-JPEG cameras), `loginuse=..&loginpas=..` (Foscam), `passphrase=..` (SRT).
"""

SECRET_KEYS = r"(?:login)?(?:pass(?:word|wd|phrase)?|pas|psw|pwd|pw|token|secret|auth|key)"
"""A regular expression, without groups and without regard to case."""
NAME_KEYS = r"(?:login)?(?:username|user|usr|use)"
"""The same of who it is."""
