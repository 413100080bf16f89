"""How Django writes moments on its pages; see the setting FORMAT_MODULE_PATH."""
