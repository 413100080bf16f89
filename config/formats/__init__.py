"""How Django writes dates and times on its pages; see the setting FORMAT_MODULE_PATH."""
