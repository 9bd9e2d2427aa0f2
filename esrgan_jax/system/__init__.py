"""The machine: devices, memory, processes, files, downloads; knows nothing of pictures or networks."""
