target "default" {
  platforms = { a = "b" }
}
