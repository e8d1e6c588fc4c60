A = "g"
target "default" {
  args = {
    v = A
  }
}
