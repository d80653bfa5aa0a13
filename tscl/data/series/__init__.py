"""Long series with time stamps: any CSV with a date column, the named forecasting sets, their parts and windows."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "features": ["CALENDAR", "calendar_features", "level_differences"],
        "known": ["SERIES", "SeriesSpec", "find_series"],
        "module": ["SeriesDataModule"],
        "parts": ["Parts", "parts_of"],
        "table": ["Series", "read_series"],
        "task": ["SeriesTask", "load_task"],
    },
)
