"""Drop-in replacements for the back ends of other wrappers."""
