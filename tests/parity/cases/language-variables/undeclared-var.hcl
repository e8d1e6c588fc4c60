
target "default" {
  args = {
    v = "a"
  }
}
