target "default" {
  resources = { memory-swap = "much" }
}
