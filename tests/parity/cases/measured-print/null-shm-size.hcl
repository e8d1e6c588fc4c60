target "default" { shm-size = null }
