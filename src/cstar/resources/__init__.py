"""The API's resources, one file each: a signature, a docstring, one line."""
