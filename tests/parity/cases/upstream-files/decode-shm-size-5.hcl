target "default" {
  shm-size = 5
}
