target "a" {
  unknown = 1
  args    = { a = "2" }
}
