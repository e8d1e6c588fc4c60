target "default" {
  policy = ["filename="]
}
