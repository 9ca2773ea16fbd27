"""Reports as single HTML files: no network, no library, readable in print, light and dark."""
