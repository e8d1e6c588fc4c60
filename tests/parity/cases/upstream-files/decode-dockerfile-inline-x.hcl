target "default" {
  dockerfile-inline = ["x"]
}
