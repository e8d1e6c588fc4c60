target "default" {
  resources = { memory = "1 GiB" }
}
