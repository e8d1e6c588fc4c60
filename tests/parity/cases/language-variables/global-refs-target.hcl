A = target.b.dockerfile
target "b" { dockerfile = "x" }
target "default" {
  args = {
    v = A
  }
}
