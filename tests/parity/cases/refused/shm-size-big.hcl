target "default" {
  shm-size = "big"
}
