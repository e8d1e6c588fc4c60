target "default" {
  resources = { memory = "0" }
}
