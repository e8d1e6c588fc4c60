target "default" {
  policy = ["foo=bar"]
}
