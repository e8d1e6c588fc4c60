target "default" {
  resources = { memory = 1024 }
}
