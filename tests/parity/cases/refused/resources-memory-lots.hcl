target "default" {
  resources = { memory = "lots" }
}
