"""Generated bindings; see `bindgen`.  Nothing here is edited by hand."""
