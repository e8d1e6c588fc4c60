target "b" {}
target "default" {
  args = {
    v = try(target.b.nope, "x")
  }
}
