target "default" {
  policy = null
}
