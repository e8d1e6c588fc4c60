target "b" {}
target "default" {
  args = {
    v = target.b.nope
  }
}
