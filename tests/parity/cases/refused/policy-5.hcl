target "default" {
  policy = [5]
}
