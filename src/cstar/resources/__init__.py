"""The API's resources. CONTRIBUTING.md says how to add one."""
