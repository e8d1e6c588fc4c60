target "default" {
  resources = { memory-swap = "-1" }
}
