target "default" {
  contexts = { a = 1 }
}
