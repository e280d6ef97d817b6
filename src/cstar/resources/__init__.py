"""The API's resources. CONTRIBUTING.md explains how to add one."""
