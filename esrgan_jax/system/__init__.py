"""The machine: devices, memory, processes, files, downloads; nothing about pictures or networks."""
