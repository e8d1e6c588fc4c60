G = NOPE
target "default" {
  args = {
    v = "x"
  }
}
