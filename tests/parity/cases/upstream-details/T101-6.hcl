target "default" {
  resources = { memory = "" }
}
