"""The service's settings: read from the environment, `.env` and `litestar.toml`."""

from taskservice.settings.settings import SETTINGS, Setting, Settings, SettingsError, load_settings

__all__ = ["SETTINGS", "Setting", "Settings", "SettingsError", "load_settings"]
