target "app" {
  context = "dir"
  args    = { one = "1" }
}
