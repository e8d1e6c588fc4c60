target "default" {
  resources = { memory-swap = "-2" }
}
