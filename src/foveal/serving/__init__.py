"""Search over HTTP: a REST service and a page, over one index. Needs the extra: pip install 'foveal[serve]'."""

from .app import create_app
from .server import listen, serve
from .settings import Batching, Limits, Settings, settings_for

__all__ = ["Batching", "Limits", "Settings", "create_app", "listen", "serve", "settings_for"]
