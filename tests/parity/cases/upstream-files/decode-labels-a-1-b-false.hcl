target "default" {
  labels = { a = 1, b = false }
}
