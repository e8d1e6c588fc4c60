target "default" {
  args = { a = ["b"] }
}
