target "default" {
  resources = { memory = "much" }
}
