"""The service's settings: read from the environment, `.env` and `litestar.toml`."""

from taskservice.settings.settings import PREFIX, SETTINGS, Setting, Settings, SettingsError, load_settings

__all__ = ["PREFIX", "SETTINGS", "Setting", "Settings", "SettingsError", "load_settings"]
