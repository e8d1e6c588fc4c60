target "default" {
  resources = ["x"]
}
