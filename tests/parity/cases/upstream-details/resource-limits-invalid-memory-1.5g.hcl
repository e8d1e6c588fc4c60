target "default" {
  resources = { memory = "1.5g" }
}
