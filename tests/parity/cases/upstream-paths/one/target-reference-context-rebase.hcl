target "base" {
  context = "ctx"
}
